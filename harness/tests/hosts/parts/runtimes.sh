# One workload in the containers of Docker's engine, which is started for the run, and of two other runtimes.
environments=native,container,docker=docker:engine=private,oci-runc=oci:runtime=/usr/sbin/runc,oci-crun=oci:runtime=/usr/bin/crun
ls -d /run/runc/* /run/crun/* /run/containerd/io.containerd.runtime.v2.task/moby/* /var/lib/docker/containers/* 2>/dev/null >"$OUT/before" || :
$BENCH run --suite io --only rand-read --profile smoke --size 64MiB --env "$environments" --no-control >"$OUT/summary" 2>"$OUT/progress"
ls -d /run/runc/* /run/crun/* /run/containerd/io.containerd.runtime.v2.task/moby/* /var/lib/docker/containers/* 2>/dev/null >"$OUT/after" || :
cp -r bench-runs/* "$OUT/"
