# Checks of the C engine and of the tree. `make` alone prints this list:
#
#   test-c     the C tests, with the flags of setup.py
#   sanitize   the same under AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan       the tests of threads under ThreadSanitizer
#   neon       the same cross-compiled for AArch64, run by qemu, but for the forks
#              (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
#   symbols    what the compiled engine exports and what it calls
#   header     nnc.h alone, as C and as C++
#   sweep      the elementary functions on all 2^32 float32 numbers: hours
#   sweep-acts the same of the activations and their derivatives; ARGS="997 100000 gelu": fewer
#   digests    record the bits of trained networks anew (tests/c/digests.def)
#   lint       ruff check, clang-format --dry-run
#   layering   includes and imports against the layers
#   format     clang-format of csrc and tests/c, in place
#   size       lines and bytes
#   clean
#
# Variables: CC, PYTHON, WERROR=-Werror, OPT=-O2 (added behind setup.py's flags).

PYTHON ?= python3
CXX ?= c++
OPT ?=
WERROR ?=
WARNINGS := -Wall -Wextra -Wshadow -Wconversion
VARIANT ?= plain
SANITIZE ?=
RUN ?=
GROUP ?=

SETUP_FLAGS := $(shell $(PYTHON) tools/flags.py)
FLAGS = $(SETUP_FLAGS) $(OPT) $(WARNINGS) $(WERROR) $(SANITIZE)
AS_FLAGS_SAY := -DHOT_CODE= -DOTHER_CODE=
BUILD := build/c/$(VARIANT)
ENGINE := $(wildcard csrc/*.c csrc/isa/*.c)
SWEEPS := $(wildcard tests/c/sweep_*.c)
TESTS := $(filter-out $(SWEEPS),$(wildcard tests/c/*.c))
HEADERS := $(shell find csrc -name '*.h' -o -name '*.def') $(wildcard tests/c/*.h tests/c/*.def)
OBJECTS := $(ENGINE:csrc/%.c=$(BUILD)/csrc/%.o)
C_FILES = $(shell find csrc tests/c -name '*.[ch]')

.PHONY: help test-c sanitize tsan neon symbols header sweep sweep-acts digests lint layering format size clean
.DELETE_ON_ERROR:

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

test-c: $(BUILD)/test_core
	$(RUN) $< $(GROUP)

sanitize:
	$(MAKE) test-c VARIANT=sanitize \
	    SANITIZE="-O1 $(AS_FLAGS_SAY) -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"

tsan:
	$(MAKE) test-c VARIANT=tsan GROUP=--threads SANITIZE="-O1 $(AS_FLAGS_SAY) -g -fsanitize=thread"

neon:
	$(MAKE) test-c VARIANT=neon CC=aarch64-linux-gnu-gcc LDFLAGS=-static RUN=qemu-aarch64 \
	    SANITIZE=-DEMULATED=1

symbols: $(OBJECTS)
	$(PYTHON) tools/symbols.py $(BUILD)/csrc

header:
	$(CC) -x c -std=c11 -pedantic $(WARNINGS) -Werror -fsyntax-only csrc/nnc.h
	$(CXX) -x c++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only csrc/nnc.h

digests: $(BUILD)/test_core
	$(RUN) $< --digests > $(BUILD)/digests.def
	cp $(BUILD)/digests.def tests/c/digests.def

sweep: $(BUILD)/sweep_vmath
	$< --all

sweep-acts: $(BUILD)/sweep_acts
	$< $(ARGS)

lint:
	ruff check .
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

layering:
	$(PYTHON) tools/layering.py

size:
	$(PYTHON) tools/size.py

clean:
	rm -rf build/c

$(BUILD)/test_core: $(OBJECTS) $(TESTS:tests/c/%.c=$(BUILD)/tests/%.o)
	$(CC) $(FLAGS) $(LDFLAGS) $^ -lm -o $@

$(BUILD)/csrc/%.o: csrc/%.c $(HEADERS) setup.py
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -Icsrc -c $< -o $@

$(BUILD)/tests/%.o: tests/c/%.c $(HEADERS) setup.py
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -Icsrc -c $< -o $@

$(BUILD)/sweep_acts: $(OBJECTS) $(addprefix $(BUILD)/tests/,sweep_acts.o oracle.o testing.o)
	$(CC) $(FLAGS) $(LDFLAGS) $^ -lm -o $@

$(BUILD)/sweep_vmath: tests/c/sweep_vmath.c csrc/vmath.h
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -march=native -Icsrc $< -lm -o $@
