# make run: a demo, no root and no configuration. make test: everything.
GO     ?= go
FUZZTIME ?= 30s
TOOL    = $(GO) tool -modfile=tools/go.mod

.PHONY: run build test unit e2e deb image man check fuzz bench install-test-peers

run: build
	./bin/postern demo

build:
	$(GO) build -buildvcs=auto -trimpath -o bin/postern ./cmd/postern

# What the end-to-end tests need is installed first, where that is possible.
test: install-test-peers unit e2e

install-test-peers:
	./test/install.sh

unit:
	$(GO) test -race -shuffle=on $$($(GO) list ./... | grep -v '^postern/test/')
	$(GO) test -shuffle=on ./smtpwire # what it allocates shows without the race detector
	$(GO) test -run TenThousand ./internal/app # and so does what it keeps
	cd tools && $(GO) test -shuffle=on ./...

e2e:
	$(GO) test -count=1 -shuffle=on -timeout 25m ./test/...

# Debian packages for amd64 and arm64, in dist/.
deb:
	./tools/deb.sh

# The manual pages, which are committed: after a change of a command or of
# config.hcl.example.
man:
	$(GO) test -count=1 -run ManPages ./cmd/postern -update

check:
	./tools/check.sh

# Each fuzz target for FUZZTIME; what they find is kept in testdata/fuzz.
fuzz:
	./tools/fuzz.sh $(FUZZTIME)

bench:
	./bench/run.sh

# The container image for amd64 and arm64 into dist/image, without a container
# engine. ARCHS=amd64 for one.
image:
	./tools/image.sh $(ARCHS)
