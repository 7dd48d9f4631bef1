module github.com/scsguard/scsguard/cmd/scsguard

go 1.25.0

// For tests.
require (
	github.com/stretchr/testify v1.12.1
	golang.org/x/mod v0.40.0
)
