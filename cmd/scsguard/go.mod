module github.com/scsguard/scsguard/cmd/scsguard

go 1.25.0

