package auditlog

const limitEnv = "AUDITLOG_TEST_LIMIT"

func limited(string) {} // Windows has no limit of this kind
