# One verb per task; each installs what it needs (root, apt) and can be the first command on a fresh machine.

PREFIX ?= /usr/local
BINARY := .build/release/viaduct
VENV := .venv
MANUAL := .build/manual
# Test tools from PyPI come first on the path, whatever the machine has.
WITH_TOOLS := env PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: help demo test build fleet lint format openapi man install clean packages tools unit topology bench

help:
	@echo "make demo       three hosts provisioned by a controller; a guest moves, a host dies, the controller dies"
	@echo "make test       every test: lint, unit, object file, topology"
	@echo "make build      the release binary, $(BINARY)"
	@echo "make deb        a Debian package of it, in .build/deb; make deb-test gives it a life on a fresh Debian"
	@echo "make fuzz       libFuzzer over each target for a minute (TIME=seconds, TARGETS=names)"
	@echo "make asan | tsan   the unit tests under the address or the thread sanitizer"
	@echo "make mutants    plants bugs and sees that tests catch them (ONLY=expression)"
	@echo "make unit | topology | crash | skew | stress | sim | bench | bench-controller | lint | format | openapi | install | clean"

packages:
	@sh deploy/install-packages.sh

# The Swift runtime is linked in: the binary needs no toolchain where it runs.
build: packages
	swift build -c release --product viaduct --static-swift-stdlib

# Simulated agents, to test and measure a controller with.
fleet: packages
	swift build -c release --product viaduct-fleet --static-swift-stdlib

demo: build
	bash deploy/demo.sh $(BINARY)

# Thousands of tests with real clocks on a machine that others share: one that fails is tried once more, alone, and what
# passed only then is said at the end. RECHECK=no: the first word is the last.
test: export RECHECK ?= yes
test: export RECHECKED = $(CURDIR)/.build/rechecked
test: begin packages tools lint unit build hotpath topology deployment
	@if test -s $(RECHECKED); then echo "passed only when run again, alone:"; cat $(RECHECKED); fi
	@echo "all tests passed"
.PHONY: begin
begin:
	@rm -f $(RECHECKED)

tools: $(VENV)/ready
$(VENV)/ready: Tests/requirements.txt | packages
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r Tests/requirements.txt
	touch $@

lint: packages
	swift format lint --strict --parallel --recursive Package.swift Sources Tests
	python3 Tests/Tidy/tidy.py

format:
	swift format format --in-place --parallel --recursive Package.swift Sources Tests

# Some suites measure deadlines of tenths of a second, others run etcd or wait for what many tasks do: each get the
# machine to themselves.
TIMED := HTTPTests|EventLogTests|EventStreamTests
LEASED := RESTTests.ServiceTests|Etcd|ControllerTests
# A hundred thousand random frames and more: nothing beside them would get its turn in time.
RANDOM := TraceAgreementTests|PipelineModelTests|PipelineCacheTests|FrameEditTests
# One after the other, and minutes of it: a process of its own, beside that of all others.
SERIAL := OnTheHost
# No more begin than can go on: tests share as many threads as there are cores, and one that waits goes to the end of
# their queue.
UNIT := $(WITH_TOOLS) python3 Tests/run.py swift test --skip-build --ignore-lock --parallel \
	--experimental-maximum-parallelization-width 8
# The report of a crash ends the log, and of a long log the end is what is kept: the message stands before it, and it is
# the thread that crashed and nothing else.
unit: export SWIFT_BACKTRACE = threads=crashed,images=none,registers=none,color=no,limit=16,top=0
unit: packages tools
	swift build --build-tests
	rm -f .build/failed
	$(UNIT) --filter '$(SERIAL)' & beside=$$!; trap "kill $$beside; exit 143" INT TERM; \
	$(UNIT) --skip '$(SERIAL)|$(TIMED)|$(LEASED)|$(RANDOM)|FuzzTests'; \
	status=$$?; wait $$beside && test $$status = 0 || { cat .build/failed; exit 1; }
	$(UNIT) --filter '$(RANDOM)|FuzzTests'
	$(UNIT) --filter '$(TIMED)'
	$(UNIT) --filter '$(LEASED)'

# Every promise under its attack, with figures. Options by STRESS=…: see --help of stress.py.
.PHONY: stress
stress: build tools
	VIADUCT=$(CURDIR)/$(BINARY) $(VENV)/bin/python3 Tests/Stress/stress.py $(STRESS)

# A kill at every system call of a write, of which `make test` tries a few: several minutes.
.PHONY: crash
crash: build tools
	$(call topology-run,a kill at every call,CRASH_STRIDE=1,test_crash.py)

# libFuzzer over the targets of Tests/Fuzz, TIME seconds each: optimized, with assertions, under the address sanitizer.
# Both sanitizers are said in one option, since of two the compiler takes the last.
TIME ?= 60
.PHONY: fuzz
fuzz: packages
	VIADUCT_FUZZ=1 swift build -c release --product viaduct-fuzz --scratch-path .build-fuzz --sanitize=address \
		-Xswiftc -sanitize=fuzzer,address -Xswiftc -enable-testing -Xswiftc -assert-config -Xswiftc Debug
	python3 Tests/Fuzz/fuzz.py --time $(TIME) $(TARGETS)

# A sanitizer makes everything several times slower. So suites that load the machine, start programs or are cut off by the
# clock are left out, and random frames by the hundred thousand, which the fuzzer has; of those that measure time only
# what the sanitizer reports counts. A table of twenty thousand routes is overrun by so slow a reader all the time.
UNSANITIZED := $(RANDOM)|GarbageTests|Etcd|viaductTests|ClientPoolTests|LoadTests|StreamLimitTests|DeadlineTests
UNSANITIZED := $(UNSANITIZED)|WorkerBench|PatienceTests|UnderlayMonitorTests/churn|ProblemCodeTests
define sanitized
	swift build --build-tests --sanitize=$(1) --scratch-path .build-$(2)
	rm -f .build-$(2)/report.*
	$(WITH_TOOLS) python3 Tests/run.py swift test --skip-build --sanitize=$(1) --scratch-path .build-$(2) --parallel --skip '$(UNSANITIZED)|$(TIMED)|$(LEASED)'
	-$(WITH_TOOLS) swift test --skip-build --sanitize=$(1) --scratch-path .build-$(2) --parallel --filter '$(TIMED)' \
		--skip '$(UNSANITIZED)'
	-$(WITH_TOOLS) swift test --skip-build --sanitize=$(1) --scratch-path .build-$(2) --parallel --filter '$(LEASED)' \
		--skip '$(UNSANITIZED)'
	@if cat .build-$(2)/report.* 2> /dev/null; then exit 1; else echo "the $(1) sanitizer found nothing"; fi
endef
.PHONY: asan tsan
asan tsan: export SWIFT_BACKTRACE = enable=no
# The Swift runtime keeps what it has made until the process ends.
asan: export ASAN_OPTIONS = detect_leaks=0:log_path=$(CURDIR)/.build-asan/report
asan: packages tools
	$(call sanitized,address,asan)

# Races that are meant, and why: Tests/tsan.txt.
tsan: export TSAN_OPTIONS = suppressions=$(CURDIR)/Tests/tsan.txt:log_path=$(CURDIR)/.build-tsan/report
tsan: packages tools
	$(call sanitized,thread,tsan)

# Planted bugs, each of which tests must catch: ONLY=expression for some (Tests/Mutants).
.PHONY: mutants
mutants: packages
	python3 Tests/Mutants/mutants.py $(ONLY)

# The push protocol in virtual time: SEED=n traces one run, STEPS=n cuts it short; SEEDS=n makes n runs.
.PHONY: sim
sim: packages
	SIM_SEED=$(SEED) SIM_STEPS=$(STEPS) SIM_SEEDS=$(SEEDS) swift test --filter SimulationTests.everything

# The packet path in the object file: no reference counting, no allocation, no locks.
.PHONY: hotpath
hotpath: build
	python3 Tests/Tidy/check_hot_path.py

# Everything as an agent decides by itself; then what concerns the packet path once more by each way to the underlay
# that need not be the one chosen, with and without the kernel's offloads. How long each took is said.
EACH_UNDERLAY := agent_agent ecn kernel_peer mtu offload ovs_peer superframes vectors vectors_in
define topology-run
	@echo "topology: $(1)"; start=$$(date +%s); cd Tests/Topology && \
	env VIADUCT=$(CURDIR)/$(BINARY) $(2) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" \
		python3 $(CURDIR)/Tests/run.py pytest -q $(3) && \
	echo "topology: $(1): $$(($$(date +%s) - start)) s"
endef
# Suites that measure time or rates, or load the machine: they have it to themselves. All others run four at a time,
# by files, since most of what they do is wait.
MEASURING := benchmark bfd bursts capture_cost controller_etcd controller_faults controller_moves fleet_bench \
	handover native_routes numbers patience push raw_http restart scale slow_clients storm store_faults stress \
	underlay_faults workers
TOGETHER := -n 4 --dist loadfile --no-loadscope-reorder
topology: build fleet tools
	$(call topology-run,everything,VIADUCT_UNDERLAY=auto,$(TOGETHER) $(MEASURING:%=--ignore=test_%.py))
	$(call topology-run,what measures,VIADUCT_UNDERLAY=auto,--durations=15 $(MEASURING:%=test_%.py))
	$(call topology-run,underlay by sockets,VIADUCT_UNDERLAY=socket,$(TOGETHER) $(EACH_UNDERLAY:%=test_%.py))
	$(call topology-run,underlay by packet sockets,VIADUCT_UNDERLAY=packet_socket,$(TOGETHER) \
		$(EACH_UNDERLAY:%=test_%.py))
	$(call topology-run,sockets without offloads,VIADUCT_OFFLOAD=off,$(TOGETHER) $(EACH_UNDERLAY:%=test_%.py))
	$(call topology-run,packet sockets without offloads,VIADUCT_OFFLOAD=off VIADUCT_UNDERLAY=packet_socket,\
		$(TOGETHER) test_agent_agent.py test_superframes.py test_vectors.py test_vectors_in.py)
	$(call topology-run,bursts and liveness by sockets,VIADUCT_UNDERLAY=socket,test_bursts.py test_bfd.py)
	$(call topology-run,bursts and liveness by packet sockets,VIADUCT_UNDERLAY=packet_socket,test_bursts.py test_bfd.py)
	$(call topology-run,bursts without offloads,VIADUCT_OFFLOAD=off,test_bursts.py)

# What is in deploy/: units, what a service manager hears, manifests and roles. And the package, on a fresh Debian that
# comes from the mirror once and is kept in .build.
define deploy-run
	cd Tests/Deploy && env VIADUCT=$(CURDIR)/$(BINARY) MANUAL=$(CURDIR)/$(MANUAL) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" \
		python3 $(CURDIR)/Tests/run.py pytest -q $(1)
endef
.PHONY: deployment deb-test
deployment: build tools
	$(call deploy-run,--ignore=test_deb.py)
deb-test: build man tools
	sh deploy/install-packages.sh deploy/packages-deb.txt
	$(call deploy-run,test_deb.py)

# State files and pushes between this version and the one named in Tests/Topology/previous, which is built for it.
PREVIOUS = $(shell cat Tests/Topology/previous)
OLD := .build/skew
.PHONY: skew
skew: build tools
	git worktree prune
	test -x $(OLD)/$(PREVIOUS)/viaduct || { \
		test -d $(OLD)/source || git worktree add --force --detach $(OLD)/source $(PREVIOUS); \
		git -C $(OLD)/source checkout --quiet --detach $(PREVIOUS) && \
		swift build -c release --product viaduct --static-swift-stdlib --package-path $(OLD)/source && \
		install -D $(OLD)/source/$(BINARY) $(OLD)/$(PREVIOUS)/viaduct; }
	$(call topology-run,two versions,VIADUCT_UNDERLAY=auto VIADUCT_PREVIOUS=$(CURDIR)/$(OLD)/$(PREVIOUS)/viaduct,skew.py)

# Options by BENCH=…, API=… and MICRO=…: see --help of bench.py, api.py and micro.py.
bench: build
	swift build -c release --product viaduct-micro --static-swift-stdlib
	VIADUCT=$(CURDIR)/$(BINARY) python3 Tests/Bench/bench.py $(BENCH)
	VIADUCT=$(CURDIR)/$(BINARY) python3 Tests/Bench/api.py $(API)
	python3 Tests/Bench/micro.py $(MICRO)

# A controller with a thousand simulated agents. Options by CONTROLLER=…: see --help of controller.py.
.PHONY: bench-controller
bench-controller: build fleet
	VIADUCT=$(CURDIR)/$(BINARY) python3 Tests/Bench/controller.py $(CONTROLLER)

openapi: packages
	swift build --product viaduct
	.build/debug/viaduct openapi > openapi/viaduct.json
	.build/debug/viaduct openapi --controller > openapi/controller.json

# Man pages, one per command, from the command line's own declarations.
man: packages
	swift package generate-manual --configuration debug --multi-page --date 2026-01-01
	rm -rf $(MANUAL) && mkdir -p $(MANUAL)
	for page in .build/plugins/GenerateManual/outputs/viaduct/*.1; do \
		sed -f deploy/man.sed "$$page" >"$(MANUAL)/$${page##*/}"; done

# A Debian package in .build/deb: the binary with the Swift runtime inside, units, man pages, completions.
.PHONY: deb
deb: build man
	sh deploy/install-packages.sh deploy/packages-deb.txt
	sh deploy/build-deb.sh $(BINARY) $(MANUAL) .build/deb

install: build man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/viaduct
	strip $(DESTDIR)$(PREFIX)/bin/viaduct
	install -m 644 $(MANUAL)/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(BINARY) --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/viaduct

clean:
	rm -rf .build $(VENV)
