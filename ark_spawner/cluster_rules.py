"""The one table of what a cluster may say about a pod and what a person is told then: cause, and next step.

A rule knows a reason of Kubernetes (an event's, a container state's, a pod's, a condition's or a refusal's) and, where the
reason alone says too little, a part of its message. The first that matches speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ark_extensions.usecases.views import Sentence


@dataclass(frozen=True)
class Rule:
    """``reason`` and ``message`` are searched for; named groups of ``message`` fill the sentence."""

    code: str
    severity: str
    reason: str
    message: str
    sentence: Sentence
    final: bool = False
    step: bool = False


NOT_STARTED = Sentence("The workspace's container cannot be started on this machine. Choose another image, or tell an operator.")
#: the first that matches speaks
RULES: tuple[Rule, ...] = (
    # no place
    Rule(
        "node_silent",
        "warning",
        "FailedScheduling",
        r"untolerated taint",  # which taint, the scheduler does not say
        Sentence(
            "The machine that this workspace was given cannot take it now: it does not answer, or is kept for something else. "
            "Waiting; if it lasts, stop the workspace and start it again."
        ),
    ),
    Rule(
        "node_closed",
        "warning",
        "FailedScheduling",
        r"unschedulable",
        Sentence(
            "The machine that this workspace was given is closed for maintenance. Stop the workspace and start it again to get another."
        ),
    ),
    Rule(
        "disk_elsewhere",
        "error",
        "FailedScheduling",
        r"PersistentVolume's node affinity|volume node affinity conflict|didn't find available persistent volumes|exceed max volume count",
        Sentence("The data disk cannot be attached to the machine that has free compute now. Try again later, or tell an operator."),
    ),
    Rule(
        "disk_pending",
        "warning",
        "FailedScheduling",
        r"unbound immediate PersistentVolumeClaims|unbound PersistentVolumeClaim",
        Sentence("The data disk is being made."),
    ),
    Rule(
        "claim_missing",
        "error",
        "FailedScheduling",
        r'persistentvolumeclaim "(?P<claim>[^"]+)" not found',
        Sentence("The cluster does not have the storage {claim}, where netdisks and datasets are. Tell an operator."),
    ),
    Rule(
        "gpu_taken",
        "warning",
        "FailedScheduling",
        r"Insufficient (?:nvidia\.com/|amd\.com/|\S+/)(?:gpu|\S*gpu\S*)",
        Sentence("No {gpu} is free in the cluster now. Waiting for one; you can stop the workspace and choose another offer."),
    ),
    Rule(
        "memory_taken",
        "warning",
        "FailedScheduling",
        r"Insufficient memory",
        Sentence("No machine has {memory_gib} GiB of memory free now. Waiting; a smaller offer may start at once."),
    ),
    Rule(
        "cpu_taken",
        "warning",
        "FailedScheduling",
        r"Insufficient cpu",
        Sentence("No machine has enough processors free now. Waiting; a smaller offer may start at once."),
    ),
    Rule(
        "system_disk_taken",
        "warning",
        "FailedScheduling",
        r"Insufficient ephemeral-storage",
        Sentence("No machine has {system_disk_gib} GiB free for the system disk now. Waiting; tell an operator if it lasts."),
    ),
    Rule(
        "too_many_pods",
        "warning",
        "FailedScheduling",
        r"Too many pods",
        Sentence("The machine holds as many workspaces as it may. Waiting for one to stop."),
    ),
    Rule(
        "no_such_node",
        "warning",
        "FailedScheduling",
        r"didn't match Pod's node affinity|plugin\(s\) \[NodeAffinity\]|no nodes available",
        Sentence("The cluster has no machine for this offer now. Choose another offer, or tell an operator."),
    ),
    Rule(
        "no_place",
        "warning",
        "FailedScheduling",
        r"",
        Sentence("The cluster has no place for this workspace now. Waiting; a smaller offer may start at once."),
    ),
    # what the autoscaler of a cluster says, where there is one
    Rule("machine_asked", "info", "^TriggeredScaleUp$", r"", Sentence("The cluster is asked for another machine.")),
    Rule(
        "no_more_machines",
        "warning",
        "^NotTriggerScaleUp$",
        r"",
        Sentence("The cluster cannot get another machine for this workspace now. Waiting; you can stop it and choose another offer."),
    ),
    Rule("placed", "info", "^Scheduled$", r"assigned \S+ to (?P<on>\S+)", Sentence("It has its place on {on}."), step=True),
    # the image
    Rule(
        "image_pulling",
        "info",
        "^Pulling$",
        r"",
        Sentence("The image {image} is being pulled to the machine. The first time takes some minutes."),
    ),
    Rule(
        "image_pulled",
        "info",
        "^Pulled$",
        r"Successfully pulled image .* in (?P<took>[0-9.hms]+).*Image size: (?P<bytes>\d+) bytes",
        Sentence("The image {image} was pulled: {size} in {took}."),
    ),
    Rule("image_there", "info", "^Pulled$", r"", Sentence("The image {image} is on the machine."), step=True),
    Rule(
        "image_missing",
        "error",
        "^(Failed|ErrImagePull|ImagePullBackOff)$",
        r"(?is)pull.*(?:not found|manifest unknown|does not exist|name unknown|no match for platform)",
        Sentence("The image {image} does not exist where the cluster pulls images from. Choose another, or tell an operator."),
        final=True,
    ),
    Rule(
        "image_forbidden",
        "error",
        "^(Failed|ErrImagePull|ImagePullBackOff)$",
        r"(?is)pull.*(?:denied|unauthorized|authentication required|authorization failed|\b40[13]\b)",
        Sentence("The cluster may not pull the image {image}. Choose another, or tell an operator."),
        final=True,
    ),
    Rule(
        "image_never",
        "error",
        "ErrImageNeverPull",
        r"",
        Sentence("The image {image} is not on the machine, and it may not be pulled. Choose another, or tell an operator."),
        final=True,
    ),
    Rule(
        "image_name",
        "error",
        "InvalidImageName|InspectFailed|^Failed$",
        r"(?i)InvalidImageName|image tag|parse image",
        Sentence("The name of the image {image} cannot be right. Choose another, or tell an operator."),
        final=True,
    ),
    Rule(
        "image_disk_full",
        "error",
        "^(Failed|ErrImagePull|ImagePullBackOff)$",
        r"(?i)no space left on device",
        Sentence("The machine's disk is full, so the image {image} cannot be pulled. Tell an operator."),
    ),
    Rule(
        "image_unreachable",
        "warning",
        "^(Failed|ErrImagePull|ImagePullBackOff|RegistryUnavailable)$",
        r"(?i)pull|ErrImagePull|ImagePullBackOff|registry",
        Sentence("The image {image} cannot be pulled now: its registry does not answer as it should. Trying again."),
    ),
    Rule(
        "image_waiting",
        "warning",
        "^BackOff$",
        r"(?i)pulling image",
        Sentence("The image {image} could not be pulled. Waiting a little before the next try."),
    ),
    # disks
    Rule(
        "disk_busy",
        "warning",
        "FailedAttachVolume",
        r"Multi-Attach",
        Sentence("The data disk is still attached to the machine where the workspace ran last. Waiting until it is free."),
    ),
    Rule(
        "disk_attach",
        "warning",
        "FailedAttachVolume",
        r"",
        Sentence("The data disk cannot be attached to the machine. Trying again; tell an operator if it lasts."),
    ),
    Rule(
        "mount_refused",
        "warning",
        "FailedMount",
        r"",
        Sentence("A disk, netdisk or dataset cannot be mounted. Trying again; tell an operator if it lasts."),
    ),
    Rule(
        "item_missing",
        "error",
        "CreateContainerConfigError|^Failed$",
        r"(?i)sub ?path",
        Sentence("A dataset, model or netdisk is not where the cluster looks for it. Tell an operator."),
        final=True,
    ),
    Rule(
        "settings_missing",
        "info",
        "CreateContainerConfigError|^Failed$",
        r"secret \"[^\"]+\" not found|couldn't find key \S+ in Secret",
        Sentence("Handing over the workspace's keys."),
        step=True,
    ),
    # the container
    Rule(
        "sandbox",
        "warning",
        "FailedCreatePodSandBox|NetworkNotReady",
        r"",
        Sentence("The machine cannot set up the workspace's network or sandbox. Trying again; tell an operator if it lasts."),
    ),
    Rule(
        "container",
        "error",
        "CreateContainerError|RunContainerError|CreateContainerConfigError",
        r"",
        NOT_STARTED,
        final=True,
    ),
    # the same as an event, where the image has no user that it may run as
    Rule("container", "error", "^Failed$", r"runAsNonRoot", NOT_STARTED, final=True),
    Rule("made", "info", "^Created$", r"", Sentence("The container is made."), step=True),
    Rule("started", "info", "^Started$", r"", Sentence("The container runs. Waiting for its server to answer."), step=True),
    # ends
    Rule(
        "system_disk_full",
        "error",
        "Evicted",
        r"(?i)ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit",
        Sentence(
            "The system disk ({system_disk_gib} GiB) was full: files outside /home/user and the netdisk. They are gone, as at every stop; "
            "what is in /home/user is kept. Start it again, and keep large files in /home/user."
        ),
        final=True,
    ),
    Rule(
        "shared_memory_full",
        "error",
        "Evicted",
        r'EmptyDir volume "(?:shm|runtime|imported)" exceeds',
        Sentence(
            "The shared memory was full, so the workspace was ended. Start it again with fewer data loader workers, or with more memory."
        ),
        final=True,
    ),
    Rule(
        "node_disk_full",
        "error",
        "Evicted",
        r"(?i)low on resource: (?:ephemeral-storage|inodes)|DiskPressure",
        Sentence("The machine's own disk was full, so the cluster ended the workspace. This is the platform's fault; start it again."),
        final=True,
    ),
    Rule(
        "node_memory_full",
        "error",
        "Evicted",
        r"(?i)low on resource: memory|MemoryPressure",
        Sentence("The machine's memory was full, so the cluster ended the workspace. This is the platform's fault; start it again."),
        final=True,
    ),
    Rule(
        "node_pids_full",
        "error",
        "Evicted",
        r"(?i)low on resource: pids|PIDPressure",
        Sentence("The machine ran too many processes, so the cluster ended the workspace. Start it again."),
        final=True,
    ),
    Rule(
        "evicted",
        "error",
        "Evicted|EvictionByEvictionAPI",
        r"",
        Sentence("The cluster moved the workspace off its machine, which is being emptied. Start it again; files in /home/user are kept."),
        final=True,
    ),
    Rule(
        "preempted",
        "error",
        "Preempt",
        r"",
        Sentence("The workspace made way for one on monthly compute. Start it again when compute is free; files in /home/user are kept."),
        final=True,
    ),
    Rule(
        "node_lost",
        "error",
        "NodeNotReady|NodeLost|TaintManagerEviction|DeletionByTaintManager|DeletionByPodGC",
        r"",
        Sentence(
            "The machine does not answer any more. You are charged only up to the last moment the workspace was seen. "
            "Start it again; files in /home/user are kept."
        ),
        final=True,
    ),
    Rule(
        "node_shutdown",
        "error",
        "NodeShutdown|^Terminated$|TerminationByKubelet",
        r"",
        Sentence("The machine is being shut down. Start the workspace again; files in /home/user are kept."),
        final=True,
    ),
    Rule(
        "memory_full",
        "error",
        "OOMKilled",
        r"",
        Sentence("The workspace's memory ({memory_gib} GiB) was full, so the system ended it. Use less, or start it with more memory."),
        final=True,
    ),
    Rule(
        "refused_by_node",
        "error",
        "UnexpectedAdmissionError|OutOf(?:cpu|memory|pods|nvidia\\.com/gpu)|NodeAffinity|OutOf",
        r"",
        Sentence("The machine refused the workspace: another was faster. Start it again."),
        final=True,
    ),
    Rule(
        "cannot_begin",
        "error",
        "StartError|ContainerCannotRun|^Failed$",
        r"(?i)failed to create containerd task|unable to start container process|executable file not found|no such file",
        Sentence("The image {image} has no server that a workspace needs. Choose another, or tell an operator."),
        final=True,
    ),
    Rule(
        "exited",
        "error",
        "^(Error|Completed|ContainerStatusUnknown)$",
        r"",
        Sentence("The workspace's server ended by itself (exit code {exit_code}). Start it again; files in /home/user are kept."),
        final=True,
    ),
    # the API's own refusals
    Rule(
        "quota",
        "error",
        "Forbidden",
        r"exceeded quota",
        Sentence("The cluster's quota for workspaces is used up. Try again when one is stopped, or tell an operator."),
        final=True,
    ),
    Rule(
        "pod_refused",
        "error",
        "Forbidden|Invalid",
        r"",
        Sentence("The cluster's rules do not let this workspace in. Tell an operator: the detail says which."),
        final=True,
    ),
)
#: with {free_gpus}: what can be had instead of waiting
GPU_TAKEN_OTHERS_FREE = Sentence(
    "No {gpu} is free in the cluster now; {free_gpus} are free. Waiting; you can stop the workspace and choose another offer."
)
PULLING_SIZED = Sentence("The image {image} is being pulled to the machine: {size}.")
