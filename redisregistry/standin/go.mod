module github.com/scsguard/scsguard/redisregistry/standin

go 1.25.0

// The library itself comes from the workspace: what is tested is this tree.

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/alicebob/miniredis/v2 v2.40.0
	github.com/gomodule/redigo v1.9.2
	github.com/stretchr/testify v1.12.1
)
