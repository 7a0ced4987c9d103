"""Many runs at once: launchers of sweeps."""
