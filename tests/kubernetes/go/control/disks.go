package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	provisioner = "disks.ark.test"
	// the workspaces' user: hostPath volumes know no fsGroup, so the directory is theirs from the beginning
	owner = 1000
)

// disks stands for a storage provider: directories of this machine as volumes of the class whose provisioner it is.
type disks struct {
	client    kubernetes.Interface
	directory string
	class     string
	claims    corelisters.PersistentVolumeClaimLister
	volumes   corelisters.PersistentVolumeLister
}

// provideDisks makes, enlarges and deletes volumes until it is ended.
func provideDisks(arguments []string) int {
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	directory := flags.String("directory", "", "where the disks lie")
	class := flags.String("class", "ark-disks", "the storage class")
	_ = flags.Parse(arguments[1:])
	access, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	client := kubernetes.NewForConfigOrDie(access)
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	provider := &disks{client: client, directory: *directory, class: *class, claims: claims.Lister(), volumes: volumes.Lister()}
	changed := make(chan struct{}, 1)
	notice := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { notice() }, UpdateFunc: func(any, any) { notice() }, DeleteFunc: func(any) { notice() },
		})
	}
	stop := make(chan struct{})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	for {
		provider.reconcile(context.Background())
		select {
		case <-changed:
		case <-time.After(10 * time.Second): // what failed is tried again
		}
	}
}

func (d *disks) reconcile(ctx context.Context) {
	claims, _ := d.claims.List(labels.Everything())
	for _, claim := range claims {
		if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != d.class || claim.DeletionTimestamp != nil {
			continue
		}
		var err error
		switch claim.Status.Phase {
		case v1.ClaimPending:
			if claim.Spec.VolumeName == "" {
				err = d.create(ctx, claim)
			}
		case v1.ClaimBound:
			err = d.enlarge(ctx, claim)
		}
		if err != nil {
			klog.ErrorS(err, "claim", "name", claim.Name)
		}
	}
	volumes, _ := d.volumes.List(labels.Everything())
	for _, volume := range volumes {
		if err := d.remove(ctx, volume); err != nil {
			klog.ErrorS(err, "volume", "name", volume.Name)
		}
	}
}

func (d *disks) create(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	name := "pvc-" + string(claim.UID)
	if _, err := d.volumes.Get(name); err == nil {
		return nil
	}
	directory := filepath.Join(d.directory, name)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	if err := os.Chown(directory, owner, owner); err != nil {
		return err
	}
	reference := &v1.ObjectReference{
		Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
	}
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: d.class,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete, ClaimRef: reference,
			PersistentVolumeSource: v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: directory}},
		},
	}
	_, err := d.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (d *disks) enlarge(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	wanted := claim.Spec.Resources.Requests[v1.ResourceStorage]
	if has := claim.Status.Capacity[v1.ResourceStorage]; has.Cmp(wanted) >= 0 {
		return nil
	}
	volume, err := d.volumes.Get(claim.Spec.VolumeName)
	if err != nil {
		return err
	}
	if has := volume.Spec.Capacity[v1.ResourceStorage]; has.Cmp(wanted) < 0 {
		larger := volume.DeepCopy()
		larger.Spec.Capacity[v1.ResourceStorage] = wanted
		if _, err := d.client.CoreV1().PersistentVolumes().Update(ctx, larger, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	told := claim.DeepCopy()
	told.Status.Capacity[v1.ResourceStorage], told.Status.Conditions = wanted, nil
	_, err = d.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, told, metav1.UpdateOptions{})
	return err
}

func (d *disks) remove(ctx context.Context, volume *v1.PersistentVolume) error {
	ours := volume.Annotations["pv.kubernetes.io/provisioned-by"] == provisioner
	if !ours || volume.Status.Phase != v1.VolumeReleased || volume.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(d.directory, volume.Name)); err != nil {
		return err
	}
	err := d.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}
