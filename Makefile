# make run    install what is missing, build, measure, report
# make test   everything that is tested, in the real environments (as root, or with sudo)
# make test-hosts  the real program on stock Debians with KVM, in QEMU (about 40 minutes, two hosts at a time; HOSTS=debian12,kernels
#                  and PARTS=kvm,io,... choose: harness/tests/hosts/main.rs)
# make calibrate   error rates of the verdicts on this machine, from how its blocks scatter (15 minutes, and an hour with
#                  PROFILE=standard; nothing else may run)
# make planted     differences that are known by design, and equal sides, measured for real (20 minutes; nothing else may run)
# make soak        kills, planted differences, escapes and fuzzing, and one table of what came out (under an hour)
# make baselines   what bench adds to unshare, runc, a bare guest, fio from a shell and a veth pair by hand, and what huge pages do to
#                  large I/Os (7 minutes)
# make lint   formatting and lints
# make fuzz   every parser of foreign bytes, SECONDS each (needs a nightly compiler)

CARGO ?= cargo
# A user's PATH may lack the folders of what root starts: debootstrap, runc, losetup.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
BENCH := target/release/bench
# Only what needs root gets it; results are the caller's, and what root executes is root's (docs/SECURITY.md).
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo "sudo --preserve-env=BENCH_CACHE_DIR,BENCH_STATE_DIR,NO_COLOR")
# As root, with the caller's Rust.
ROOT := $(SUDO) env "PATH=$$PATH" "HOME=$$HOME" "RUSTUP_HOME=$${RUSTUP_HOME:-$$HOME/.rustup}" "CARGO_HOME=$${CARGO_HOME:-$$HOME/.cargo}"
ARGS ?= --suite io
SECONDS ?= 60

.PHONY: run build setup test test-hosts calibrate planted soak baselines fuzz lint clean

run: build
	$(SUDO) $(BENCH) doctor --install
	$(SUDO) $(BENCH) run $(ARGS)

# Linked statically: docs/adr/0006-static.md.
build:
	$(CARGO) rustc --locked --release -p bench --bin bench -- -C target-feature=+crt-static

# What tests and runs start: fio, QEMU and the like. The list is in the program, which is built as for the tests: with other
# features, half of everything would be built twice. Tests also check XML, shell, and another program's round trips and containers, and
# refuse system calls.
setup:
	$(CARGO) test --workspace --all-features --no-run
	$(SUDO) target/debug/bench doctor --install
	{ command -v xmllint && command -v shellcheck && command -v sockperf && command -v runc && command -v crun && command -v strace; } >/dev/null || \
		$(SUDO) sh -c 'apt-get update -q && apt-get install -y -q libxml2-utils shellcheck sockperf runc crun strace'

# One profile serves unit and end-to-end tests. Those that need root are run as root; they say so when they are skipped.
test: setup
	$(ROOT) $(CARGO) test --workspace --all-features -q

HOSTS ?=
PARTS ?=
test-hosts: setup
	command -v debootstrap >/dev/null || $(SUDO) sh -c 'apt-get update -q && apt-get install -y -q debootstrap'
	$(ROOT) HOSTS="$(HOSTS)" PARTS="$(PARTS)" $(CARGO) test --workspace --all-features --test hosts -- --ignored --nocapture --test-threads=2

# Residuals of other machines stay: the file has the date in its name.
CALIBRATION := target/calibration
SUITE ?= io
ENVIRONMENTS ?= native,container
PROFILE ?= quick
calibrate: build
	$(SUDO) $(BENCH) run --suite $(SUITE) --profile $(PROFILE) --blocks 12 --env $(ENVIRONMENTS) --out $(CALIBRATION)
	file=results/reference/residuals-$(SUITE)-$(PROFILE)-$$(date -u +%Y-%m-%d).json && \
	$(CARGO) run -q --release -p bench-results --example calibrate record $(CALIBRATION) last $$file && \
	$(CARGO) run -q --release -p bench-results --example calibrate replay $$file

planted: build
	$(CARGO) build --release -p bench --example planted
	$(SUDO) target/release/examples/planted

soak: setup build
	$(ROOT) ci/soak.sh

baselines: build
	$(SUDO) sh -c 'command -v runc >/dev/null || apt-get install -y -q runc; command -v cpio >/dev/null || apt-get install -y -q cpio'
	$(SUDO) python3 docs/baselines.py

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

fuzz:
	fuzz/run.sh $(SECONDS)

clean:
	$(CARGO) clean
