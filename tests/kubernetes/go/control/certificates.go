package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// who needs a certificate as a client: file name, common name, group
var clients = [][3]string{
	{"admin", "admin", "system:masters"},
	{"kube-controller-manager", "system:kube-controller-manager", ""},
	{"kube-scheduler", "system:kube-scheduler", ""},
	{"apiserver-kubelet", "apiserver-kubelet", "system:masters"},
}

type authority struct {
	directory   string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// makeCertificates writes a CA, the API server's certificate, the clients' certificates with a kubeconfig each, and the
// key for service account tokens. --addresses: the API server's, the first is what the kubeconfigs name.
func makeCertificates(arguments []string) int {
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	directory := flags.String("directory", "", "where the files go")
	addresses := flags.String("addresses", "", "the API server's addresses, separated by commas")
	port := flags.Int("port", 6443, "the API server's port")
	nodes := flags.String("nodes", "", "names of nodes, separated by commas")
	_ = flags.Parse(arguments[1:])
	if err := writeCertificates(*directory, strings.Split(*addresses, ","), *port, strings.Split(*nodes, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func writeCertificates(directory string, addresses []string, port int, nodes []string) error {
	ca, err := newAuthority(directory)
	if err != nil {
		return err
	}
	server := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "kube-apiserver"},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	for _, address := range addresses {
		server.IPAddresses = append(server.IPAddresses, net.ParseIP(address))
	}
	if err := ca.issue("apiserver", server, x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	if _, err := newKey(filepath.Join(directory, "service-accounts.key")); err != nil {
		return err
	}
	all := clients
	for _, node := range nodes {
		all = append(all, [3]string{"node-" + node, "system:node:" + node, "system:nodes"})
	}
	for _, client := range all {
		subject := pkix.Name{CommonName: client[1]}
		if client[2] != "" {
			subject.Organization = []string{client[2]}
		}
		if err := ca.issue(client[0], &x509.Certificate{Subject: subject}, x509.ExtKeyUsageClientAuth); err != nil {
			return err
		}
		if err := ca.writeKubeconfig(client[0], fmt.Sprintf("https://%s:%d", addresses[0], port)); err != nil {
			return err
		}
	}
	return nil
}

func newAuthority(directory string) (*authority, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	key, err := newKey(filepath.Join(directory, "ca.key"))
	if err != nil {
		return nil, err
	}
	ca := &authority{directory: directory, key: key}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "ark-test-cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca.certificate = template
	encoded, err := ca.sign("ca", template, key)
	if err != nil {
		return nil, err
	}
	ca.certificate, err = x509.ParseCertificate(encoded)
	return ca, err
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), 0o600)
}

func (ca *authority) issue(name string, template *x509.Certificate, usage x509.ExtKeyUsage) error {
	key, err := newKey(filepath.Join(ca.directory, name+".key"))
	if err != nil {
		return err
	}
	template.ExtKeyUsage, template.KeyUsage = []x509.ExtKeyUsage{usage}, x509.KeyUsageDigitalSignature
	_, err = ca.sign(name, template, key)
	return err
}

func (ca *authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	// backdated: clocks of machines that were asleep differ
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	encoded, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(ca.directory, name+".crt")
	return encoded, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encoded}), 0o644)
}

func (ca *authority) writeKubeconfig(name, server string) error {
	parts := map[string][]byte{}
	for _, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		content, err := os.ReadFile(filepath.Join(ca.directory, file))
		if err != nil {
			return err
		}
		parts[file] = content
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["ark-test"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: parts["ca.crt"]}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: parts[name+".crt"], ClientKeyData: parts[name+".key"]}
	config.Contexts["ark-test"] = &clientcmdapi.Context{Cluster: "ark-test", AuthInfo: name}
	config.CurrentContext = "ark-test"
	return clientcmd.WriteToFile(*config, filepath.Join(ca.directory, name+".kubeconfig"))
}
