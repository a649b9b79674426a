"""Robot descriptions: URDF files, the registry of known arms, rigid-body dynamics."""
