"""Many runs for one purpose: declared tables, launchers of sweeps, searches."""
