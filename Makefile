# One command for each chore; `make` alone lists them.
#
# Everything is built with the release profile, tests and lints too: RocksDB's and this project's code are compiled once.

MAKEFLAGS += --no-print-directory
PREFIX ?= /usr/local

# rustup's cargo, where a login shell has not put it on the PATH.
ifneq ($(wildcard $(HOME)/.cargo/bin/cargo),)
export PATH := $(HOME)/.cargo/bin:$(PATH)
endif

.DEFAULT_GOAL := help
.PHONY: help deps build demo test test-remote bench bench-settings bench-cinder bench-upkeep bench-index bench-many bench-large bench-remote bench-latency bench-peers plots fuzz simulate simulate-steps exhaust kill lint fmt install clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

deps: ## Install what is missing (Debian), and build RocksDB once (2½ minutes on 2 cores; kept outside the checkout)
	@tools/deps
	@tools/rocksdb || echo "tools/rocksdb failed: without .cargo/config.toml cargo compiles RocksDB by itself" >&2

build: deps ## Build the cinderblock command
	cargo build --release -p cinderblock

demo: build ## Back up, restore and verify three small volumes; takes a minute and cleans up
	@tools/demo

# Runs OpenStack Cinder's own driver beside ours. Where it is missing, the tests that need it say so and pass.
CINDERBLOCK_CINDER_REFERENCE ?= $(abspath ../shared/cinder-reference/cinder_reference.py)
export CINDERBLOCK_CINDER_REFERENCE

test: deps ## Run all tests, those in the documentation too; installs Cinder once, for comparison (550 MB, 1½ minutes)
	@tools/deps bindfs strace
	@if [ -e "$$CINDERBLOCK_CINDER_REFERENCE" ]; then python=$${CINDERBLOCK_CINDER_PYTHON:-$$(tools/cinder-oracle)}; \
		else echo "make: no $$CINDERBLOCK_CINDER_REFERENCE: no tests beside Cinder's own driver" >&2; fi; \
		set -x; CINDERBLOCK_CINDER_PYTHON=$$python cargo test --release --workspace
	@SCENARIOS=no tools/test-remote

# Each server is installed once (250 MB together), started in a temporary folder, and stopped. Where that fails, its tests are skipped.
# KILLS=1000 CRASHES=50 FAULTY=50 ROUNDS=20 for hours of kills, crashes, bad lines and hosts side by side; SEED=n for the choices of an earlier run.
test-remote: deps ## Run the tests of buckets on servers of their own: SeaweedFS, moto, Azurite, OpenStack Swift
	@tools/test-remote

# VOLUMES=DIR measures your own volumes; BENCH="--dense --sparse-4t --rounds 5" and more: see family --help.
bench: build ## Measure the parts (criterion), then whole runs beside their limit (VOLUMES=DIR for your own)
	cargo bench --profile release -p cinderblock-benches
	cargo run --release -p cinderblock-benches --bin family -- $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

# BENCH="--rounds 5 --settings 32KiB/zstd:1,4KiB/none".
bench-settings: build ## Measure what chunk sizes and compressions cost and save (VOLUMES=DIR for your own)
	cargo run --release -p cinderblock-benches --bin settings -- $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

# Both in turn, on the same volume; ours alone where Cinder or the script that runs it is missing. BENCH="--dense --rounds 5".
bench-cinder: build ## Measure Cinder's backups beside Cinder's own driver (VOLUMES=DIR for your own web.img)
	cargo run --release -p cinderblock-benches --bin cinder -- $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

# Beside restic and rustic, where they are on the PATH. BENCH="--backups 20 --rustic FILE".
bench-upkeep: build ## Measure prune, gc and verify on a repository of many backups (VOLUMES=DIR for your own)
	cargo run --release -p cinderblock-benches --bin upkeep -- $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

# BENCH="--chunks 1e8 --folder DIR": DIR on a disk; 1e8 takes 13 GB and ten minutes.
bench-index: deps ## Measure the index with a million chunks and ten (BENCH="--chunks 1e8 --folder DIR" for more)
	cargo run --release -p cinderblock-benches --bin index -- $(BENCH)

# BENCH="--volumes 100 --backups 20", or BENCH="--parallel 8" for backups at once.
bench-many: build ## Measure list, prune, gc and verify on 50,000 small backups, or 8 backups at once (BENCH="--parallel 8")
	cargo run --release -p cinderblock-benches --bin many -- $(BENCH)

# BENCH="--data 8", or BENCH="--stream 64 --work DIR": DIR needs an eighth of the stream.
bench-large: build ## Measure sparse volumes up to 16 TiB, or a long stream (BENCH="--stream 64 --work DIR")
	cargo run --release -p cinderblock-benches --bin large -- $(BENCH)

# BENCH="--latency 50 --rate 200 --memory 256 --large 2048" and more: see latency --help.
bench-latency: deps ## Measure how much of its speed a backup keeps on a storage that is far away (VOLUMES=DIR for your own)
	cargo run --release -p cinderblock-benches --bin latency -- $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

# LATENCY=50ms adds it to each request and counts them, LATENCY=0ms counts only. Beside restic and rustic, where they are on the PATH.
bench-remote: build ## Measure a repository on SeaweedFS beside restic and rustic (VOLUMES=DIR of make-volumes' five; LATENCY=50ms)
	cargo build --release -p cinderblock-benches --bin proxy
	tools/bench-remote $(VOLUMES) $(LATENCY)

# borg, restic, rustic, kopia, bupstash, Benji, casync, bup, ZBackup: those on the PATH. BENCH="--dense" (hours with slow ones), "--rounds 1 --tools borg,restic --backups 0".
# What it measures goes to benches/results/peers.json; `--add` adds to what is there.
bench-peers: build ## Measure everything beside the peers that are installed and beside the limit, and plot it (VOLUMES=DIR for your own)
	cargo run --release -p cinderblock-benches --bin peers -- --plots docs/plots $(if $(VOLUMES),--volumes $(VOLUMES)) $(BENCH)

plots: deps ## Make the plots of the documentation again from benches/results (written by make bench-peers, and by bench-index and bench-large with --json)
	cargo run --release -p cinderblock-benches --bin plots

FUZZ_SECONDS ?= 60
fuzz: deps ## Fuzz what reads untrusted bytes, FUZZ_SECONDS=60 for each target (cargo install cargo-fuzz --locked)
	@set -e; targets=$$(cargo fuzz list); for target in $$targets; do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

simulate: deps ## Simulate writers and collectors, seed after seed, until one fails or SEEDS=FROM..TO are done
	SEEDS=$(or $(SEEDS),2000..1000000000) cargo test --release -p cinderblock-store --lib simulation::nothing -- --nocapture

simulate-steps: deps ## Show that the simulation misses each step of the protocol that is left out (minutes)
	cargo test --release -p cinderblock-store --lib simulation::every -- --ignored --nocapture

exhaust: deps ## Go through all faults, crashes and forms of damage of which make test takes a part (minutes)
	CINDERBLOCK_ALL_CASES=1 cargo test --release -p cinderblock-pipeline \
		--test commands_survive_faults --test commands_survive_crashes --test every_damage_meets_every_command

kill: deps ## Kill KILLS=5000 processes at random instants, and look whether anything is lost (SEED=n for the choices of an earlier run)
	KILLS=$(or $(KILLS),5000) cargo test --release -p cinderblock --test killed_processes_lose_nothing killed_ -- --nocapture

lint: deps ## Check format, clippy and documentation; warnings are errors
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

fmt: ## Format the sources
	cargo fmt --all

install: build ## Install cinderblock into PREFIX/bin (default: /usr/local)
	install -D -s -m 755 "$$(tools/target)/release/cinderblock" "$(DESTDIR)$(PREFIX)/bin/cinderblock"

clean: ## Remove what cargo built; RocksDB stays in ~/.cache/cinderblock-build
	cargo clean
