"""Where the camera stands: poses of arm and marker enter, its pose and error leave."""
