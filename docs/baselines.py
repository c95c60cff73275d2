#!/usr/bin/env python3
"""What `bench` adds to doing the same by hand, as docs/FIGURES.md records it. Run by `make baselines`, as root.

Everything is interleaved with what it is compared with, in changing order. Needs runc, util-linux, iproute2, fio, iperf3,
QEMU, busybox and cpio; links are made in network namespaces of their own.
"""

import atexit
import ctypes
import glob
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = os.path.abspath("target/release/bench")
WORK = tempfile.mkdtemp(prefix="bench-baselines-", dir="target")
atexit.register(shutil.rmtree, WORK)
ENV = dict(os.environ, NO_COLOR="1")
PAIRS = 10
HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
STUDENT = 2.262  # 97.5 % quantile for 9 degrees of freedom


def run(command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}")
    return done


def spawned(command):
    """Seconds from starting a command to its end, with as little of Python in between as can be."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    program = shutil.which(command[0])
    began = time.perf_counter()
    process = os.posix_spawn(program, command, ENV, file_actions=null)
    _, status = os.waitpid(process, 0)
    took = time.perf_counter() - began
    if status != 0:
        sys.exit(f"{command}: it ended with {os.waitstatus_to_exitcode(status)}")
    return took


def paired(ours, theirs):
    """Ratio of interleaved pairs with its 95 % interval, each side first in turn."""
    logs = []
    for pair in range(PAIRS):
        sides = [ours, theirs] if pair % 2 else [theirs, ours]
        values = {side: side(pair) for side in sides}
        logs.append(math.log(values[ours] / values[theirs]))
    mean, half = statistics.mean(logs), STUDENT * statistics.stdev(logs) / math.sqrt(PAIRS)
    return "{:.3f} [{:.3f}, {:.3f}]".format(*(math.exp(x) for x in (mean, mean - half, mean + half)))


def measured(metric, *arguments):
    """A metric of the only trial of a run."""
    out = tempfile.mkdtemp(dir=WORK)
    # 3: the trial counts as invalid, for something that is not this comparison's business.
    done = subprocess.run([BENCH, "run", "--blocks", "1", "--env", "native", "--out", out, *arguments], env=ENV, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    with open(glob.glob(f"{out}/*/trials.jsonl")[0]) as trials:
        *_, last = trials
        return next(m["value"] for m in json.loads(last)["measurements"] if m["metric"] == metric)


def cover_unified():
    """crun knows no hybrid cgroups: for this process and its children there is no second hierarchy. bench and runc do without it, too."""
    unified = "/sys/fs/cgroup/unified"
    if os.path.ismount(unified):
        new_mounts = 0x20000
        if ctypes.CDLL(None, use_errno=True).unshare(new_mounts) != 0:
            sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
        run(["mount", "--make-rprivate", "/"])
        run(["mount", "-t", "tmpfs", "none", unified])


def bundle(tree):
    """A bundle for `true` in the tools tree, as `runc spec` makes it."""
    run(["runc", "spec", "-b", WORK])
    with open(f"{WORK}/config.json") as file:
        config = json.load(file)
    config["process"].update(args=["/bin/true"], terminal=False)
    config["root"] = {"path": tree, "readonly": True}
    with open(f"{WORK}/config.json", "w") as file:
        json.dump(config, file)


def engines(tree):
    """Docker and podman, where they are: without network and log. Docker's image is removed at the end."""
    found = {}
    if shutil.which("docker") and subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
        image = f"bench-baseline-{os.getpid()}"
        run(f"tar -C {tree} -c . | docker import - {image}", shell=True)
        atexit.register(subprocess.run, ["docker", "rmi", image], capture_output=True)
        found["docker"] = lambda i: ["docker", "run", "--rm", "--network", "none", "--log-driver", "none", image, "/bin/true"]
    if shutil.which("podman"):
        limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=100:100"]
        found["podman"] = lambda i: ["podman", "run", "--rm", "--network", "none", "--log-driver", "none", *limits, "--rootfs", tree, "/bin/true"]
    return found


def start():
    """`container run -- true` against unshare(1), other runtimes and engines: whole processes, medians of 60."""
    cover_unified()
    run([BENCH, "container", "run", "--", "true"], env=ENV)
    tree = max(glob.glob("/var/cache/bench/tree-*/root"), key=os.path.getmtime)
    bundle(tree)
    commands = {
        "bench": lambda i: [BENCH, "container", "run", "--", "/bin/true"],
        "bench unconfined": lambda i: [BENCH, "container", "run", "--seccomp", "unconfined", "--", "/bin/true"],
        "unshare": lambda i: ["unshare", "-pfnmuiC", "--mount-proc", f"{tree}/usr/bin/busybox", "true"],
    }
    for runtime in filter(shutil.which, ("runc", "crun", "youki")):
        commands[runtime] = lambda i, runtime=runtime: [runtime, "run", "-b", WORK, f"baseline{os.getpid()}-{i}"]
    commands.update(engines(tree))
    times = {name: [] for name in commands}
    for i in range(60):
        for name in random.sample(list(commands), len(commands)):
            times[name].append(spawned(commands[name](i)) * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        low, _, high = statistics.quantiles(times[name], n=4)
        print(f"start: {name} {median:.2f} ms (half of them {low:.2f} to {high:.2f}), {median / medians['unshare']:.2f} × unshare")


def guest():
    """Start to agent-ready against QEMU's start to the first line of userspace of a bare busybox initramfs."""
    kernel = glob.glob("/var/cache/bench/kernel/**/vmlinuz*", recursive=True)[0]
    root = f"{WORK}/initramfs"
    os.makedirs(f"{root}/bin")
    os.makedirs(f"{root}/dev")
    run(["cp", "/bin/busybox", f"{root}/bin/busybox"])
    with open(f"{root}/init", "w") as init:
        init.write("#!/bin/busybox sh\n/bin/busybox echo FIRST-LINE > /dev/console\n/bin/busybox poweroff -f\n")
    os.chmod(f"{root}/init", 0o755)
    run(f"cd {root} && mknod dev/console c 5 1 && find . | cpio -o -H newc > ../initramfs.cpio", shell=True)
    qemu = "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -machine q35,hpet=off,smm=off,vmport=off"
    # QEMU before 8.1 hangs in one of some two hundred boots on several emulated CPUs (docs/LIMITATIONS.md).
    words = f"timeout 60 {qemu} -accel tcg,thread=multi -cpu max -smp 2 -m 1024M -serial stdio -initrd {WORK}/initramfs.cpio".split()
    words += ["-kernel", kernel, "-append", "console=ttyS0 panic=-1 quiet loglevel=1 random.trust_cpu=on tsc=reliable no_timer_check"]

    def bare(_):
        began = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if not any(b"FIRST-LINE" in line for line in process.stdout):
            sys.exit("guest: the bare guest did not come up within a minute; measure again")
        took = time.perf_counter() - began
        process.terminate()
        process.wait()
        return took

    def ours(_):
        said = run([BENCH, "vm", "run", "--verbose", "--options", "accel=tcg", "--", "true"], env=ENV).stderr
        return float(re.search(r"ready after (\d+) ms", said).group(1)) / 1e3

    ours(0)
    print(f"guest: bench / bare initramfs {paired(ours, bare)}")


def fill(target):
    run(["fio", "--name=fill", f"--filename={target}", "--size=1g", "--rw=write", "--bs=1m", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--refill_buffers=1"])


def fio():
    """`rand-read` in native against the same job file from a shell."""
    target = os.path.abspath(f"{WORK}/target")
    fill(target)
    job = f"filename={target}\nsize=1g\nrw=randread\nbs=4k\niodepth=16\nnumjobs=8\ndirect=1\nioengine=libaio\ntime_based=1\n"
    job += "allrandrepeat=1\nclocksource=clock_gettime\ngroup_reporting=1\niomem_align=2m\nstonewall\n"

    def shell(seed):
        with open(f"{WORK}/job.fio", "w") as file:
            for index, (name, runtime) in enumerate([("drive", "1000ms"), ("warm", "500ms"), ("measured", "2000ms")]):
                file.write(f"[{name}]\n{job}runtime={runtime}\nrandseed={3 * seed + index + 1}\n")
        said = run(["fio", "--output-format=json", f"{WORK}/job.fio"], env=dict(os.environ, TMPDIR="/dev/shm", **HUGE)).stdout
        jobs = json.loads(said[said.index("{"):])["jobs"]
        return next(job for job in jobs if job["jobname"] == "measured")["read"]["iops"]

    def ours(_):
        return measured("iops", "--only", "rand-read", "--target", target, "--destroy-data", "--size", "1GiB")

    print(f"fio: bench / shell {paired(ours, shell)}")
    os.remove(target)


def buffers():
    """Large I/Os with buffers as malloc gives them, and with buffers in huge pages: throughput, its spread, size of requests."""
    target = os.path.abspath(f"{WORK}/target")
    fill(target)
    jobs = {"read": ["--rw=read", "--iodepth=2"], "write": ["--rw=write", "--iodepth=16"]}
    ways = {"malloc": ({}, []), "huge pages": (HUGE, ["--iomem_align=2m"])}
    seen = {(job, way): [] for job in jobs for way in ways}
    for pair in range(PAIRS):
        for job, way in seen if pair % 2 else reversed(seen):
            variables, option = ways[way]
            words = ["fio", "--name=job", f"--filename={target}", "--size=1g", "--bs=1m", "--direct=1", "--ioengine=libaio"]
            words += ["--time_based", "--runtime=3", "--output-format=json", *jobs[job], *option]
            said = json.loads(run(words, env=dict(os.environ, TMPDIR="/dev/shm", **variables)).stdout)
            done, disk = said["jobs"][0][job], said["disk_util"][0]
            seen[job, way].append((done["bw_bytes"], done["io_bytes"] / disk[f"{job}_ios"]))
    for (job, way), values in seen.items():
        rates, sizes = zip(*values)
        spread = statistics.stdev(math.log(rate) for rate in rates)
        print(f"buffers: {job}, {way}: {statistics.mean(rates) / 1e6:.0f} MB/s, spread {100 * spread:.1f} %, requests of {min(sizes) / 1024:.0f} to {max(sizes) / 1024:.0f} KiB")
    os.remove(target)


def veth():
    """Native bulk throughput through the lab against a veth pair made with ip(8)."""
    here, there = f"here{os.getpid()}", f"there{os.getpid()}"
    settings = "echo reno > ipv4/tcp_congestion_control; echo 4096 131072 6291456 > ipv4/tcp_rmem; echo 4096 16384 4194304 > ipv4/tcp_wmem"

    def by_hand(_):
        run(f"ip netns add {here}; ip netns add {there}; ip -n {here} link add v0 type veth peer name v1 netns {there}", shell=True)
        for name, device, address in ((here, "v0", "198.18.0.1/24"), (there, "v1", "198.18.0.2/24")):
            run(f"ip -n {name} addr add {address} dev {device}; ip -n {name} link set {device} up", shell=True)
            run(["ip", "netns", "exec", name, "sh", "-c", f"cd /proc/sys/net; {settings}"])
        server = subprocess.Popen(["ip", "netns", "exec", there, "taskset", "-c", "1", "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        said = run(f"ip netns exec {here} taskset -c 0 iperf3 -c 198.18.0.2 -J -t 2 -O 1".split()).stdout
        server.wait()
        run(f"ip netns del {here}; ip netns del {there}", shell=True)
        return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 8

    def ours(_):
        return measured("bandwidth_bytes_per_s", "--suite", "network", "--only", "tcp-stream-tx")

    print(f"veth: bench / by hand {paired(ours, by_hand)}")


if __name__ == "__main__":
    # The last one covers a hierarchy of cgroups.
    known = {part.__name__: part for part in (guest, fio, buffers, veth, start)}
    for name in sys.argv[1:] or known:
        known[name]()
