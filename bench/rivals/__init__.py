"""What people use instead: each as its own documentation has it, with the settings that make it fastest and safe."""
