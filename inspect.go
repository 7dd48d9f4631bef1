package scsguard

import "context"

// An Inspector is a [Registry] that can find fault with what it keeps its records in,
// such as a database that is set up to forget them. [New] refuses what it finds, like
// any other mistake; what is found later, since somebody has changed a setting, is in
// [Guard.Health] from the next sweep on, as [ComponentStorage].
type Inspector interface {
	// Inspect returns every setting that has to be changed. An error says that they
	// could not be asked for: that is no reason not to start.
	Inspect(ctx context.Context) ([]FieldError, error)
}

// inspect returns what the registry finds fault with.
func (g *Guard) inspect(ctx context.Context) []FieldError {
	inspector, ok := g.registry.(Inspector)
	if !ok {
		return nil
	}
	faults, err := call(g, ctx, ComponentRegistry, "inspect", inspector.Inspect)
	if err != nil {
		return nil // health knows
	}
	if len(faults) == 0 {
		g.health.note(ComponentStorage, nil)
	} else {
		g.health.note(ComponentStorage, &ConfigError{Fields: faults})
	}
	return faults
}
