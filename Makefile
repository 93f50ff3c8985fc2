# One verb per task; each installs what it needs (root, apt) and can be the first command on a fresh machine.

PREFIX ?= /usr/local
BINARY := .build/release/viaduct
VENV := .venv
# Test tools from PyPI come first on the path, whatever the machine has.
WITH_TOOLS := env PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: help demo test build fleet lint format openapi man install clean packages tools unit topology bench

help:
	@echo "make demo       three hosts provisioned by a controller; a guest moves, a host dies, the controller dies"
	@echo "make test       every test: lint, unit, object file, topology"
	@echo "make build      the release binary, $(BINARY)"
	@echo "make unit | topology | sim | bench | bench-controller | lint | format | openapi | install | clean"

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

test: packages tools lint unit build hotpath topology
	@echo "all tests passed"

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
# The report of a crash ends the log, and of a long log the end is what is kept: the message stands before it, and it is
# the thread that crashed and nothing else.
unit: export SWIFT_BACKTRACE = threads=crashed,images=none,registers=none,color=no,limit=16,top=0
unit: packages tools
	swift build --build-tests
	$(WITH_TOOLS) swift test --skip-build --parallel --skip '$(TIMED)|$(LEASED)'
	$(WITH_TOOLS) swift test --skip-build --parallel --filter '$(TIMED)'
	$(WITH_TOOLS) swift test --skip-build --parallel --filter '$(LEASED)'

# The push protocol in virtual time: SEED=n traces one run, STEPS=n cuts it short; SEEDS=n makes n runs.
.PHONY: sim
sim: packages
	SIM_SEED=$(SEED) SIM_STEPS=$(STEPS) SIM_SEEDS=$(SEEDS) swift test --filter SimulationTests.everything

# The packet path in the object file: no reference counting, no allocation, no locks.
.PHONY: hotpath
hotpath: build
	python3 Tests/Tidy/check_hot_path.py

# Everything with the kernel's offloads in use; what concerns the packet path once more without any.
PACKET_PATH := agent_agent bursts connectivity ecn kernel_peer mtu offload ovs_peer superframes
topology: build fleet tools
	cd Tests/Topology && VIADUCT=$(CURDIR)/$(BINARY) $(WITH_TOOLS) python3 -m pytest -q
	cd Tests/Topology && VIADUCT=$(CURDIR)/$(BINARY) VIADUCT_OFFLOAD=off $(WITH_TOOLS) \
		python3 -m pytest -q $(PACKET_PATH:%=test_%.py)

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

install: build man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/viaduct
	strip $(DESTDIR)$(PREFIX)/bin/viaduct
	install -m 644 .build/plugins/GenerateManual/outputs/viaduct/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(BINARY) --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/viaduct

clean:
	rm -rf .build $(VENV)
