//go:build !linux && !darwin

package auditlog

const limitEnv = "AUDITLOG_TEST_LIMIT"

func limited(string) {} // not every system has a limit of this kind
