module github.com/scsguard/scsguard/cmd/scsguard

go 1.25.0

require github.com/stretchr/testify v1.12.1

require golang.org/x/mod v0.40.0
