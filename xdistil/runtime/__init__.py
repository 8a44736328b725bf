"""What a process needs: workdir, log, devices, signals, environment."""
