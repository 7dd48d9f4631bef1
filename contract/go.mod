module github.com/scsguard/scsguard/contract

go 1.25.0

// The library itself comes from the workspace: what is tested is this tree.

// What is compared.
require github.com/alexedwards/scs/v2 v2.9.0

// For tests.
require (
	github.com/alexedwards/scs/boltstore v0.0.0-20240316134038-7e11d57e8885
	github.com/alexedwards/scs/redisstore v0.0.0-20251002162104-209de6e426de
	github.com/gomodule/redigo v1.9.2
	github.com/stretchr/testify v1.12.1
	go.etcd.io/bbolt v1.4.3
)

require golang.org/x/sys v0.29.0 // indirect
