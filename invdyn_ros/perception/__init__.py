"""What the cameras see: images enter; landmarks of a person and poses of marked blocks leave."""
