"""A node's container metrics, in the form of a kubelet's cAdvisor exposition."""

FAMILIES = 45
_CGROUPS = ("", "POD", "web")


def cadvisor_text(pods: int, scrape: int = 0) -> bytes:
    """Write the exposition of a node with `pods` pods; values depend on the scrape's number.

    110 pods give 13.9 thousand lines and 6.2 MB.
    """
    lines: list[str] = []
    stamp = 1_763_700_000_000 + 15_000 * scrape
    for family in range(FAMILIES):
        name = f"container_resource_usage_{family:02d}_{'seconds_total' if family % 2 else 'bytes'}"
        lines.append(f"# HELP {name} Cumulative usage of resource {family} by the container.")
        lines.append(f"# TYPE {name} {'counter' if family % 2 else 'gauge'}")
        lines += [
            f"{name}{{{_labels(pod, cgroup, family)}}} {_value(pod, family, scrape)} {stamp + pod}"
            for pod in range(pods)
            for cgroup in _CGROUPS[: 2 if family % 5 == 0 else 3]
        ]
    return ("\n".join(lines) + "\n").encode()


def namespace_of(pod: int) -> str:
    """Return the namespace of a pod."""
    return f"tenant-{pod % 20}"


def _labels(pod: int, cgroup: str, family: int) -> str:
    uid = f"{pod:08x}-5f3a-4c1b-9d2e-{pod * 7919 % 16**12:012x}"
    slice_name = uid.replace("-", "_")
    scope = f"cri-containerd-{pod * 104729 % 16**16:016x}{pod * 15485863 % 16**16:016x}.scope"
    path = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"
    pairs = {
        "container": cgroup,
        "id": f"{path}/kubelet-kubepods-burstable-pod{slice_name}.slice/{scope if cgroup else ''}",
        "image": f"registry.example/team/application@sha256:{pod * 32452843 % 16**32:064x}"
        if cgroup
        else "",
        "name": f"{pod * 49979687 % 16**16:016x}" if cgroup else "",
        "namespace": namespace_of(pod),
        "pod": f"application-{pod % 7}-{pod * 7919 % 16**8:08x}-{pod:05x}",
    }
    if family % 9 == 0:
        pairs["device"] = f"/dev/nvme{pod % 3}n1"
    return ",".join(f'{name}="{value}"' for name, value in sorted(pairs.items()))


def _value(pod: int, family: int, scrape: int) -> str:
    number = (pod + 1) * (family + 3) * 1_234_567 + scrape * 37
    return f"{number / 1000:.3f}" if family % 2 else f"{number:.6e}" if family % 3 else str(number)
