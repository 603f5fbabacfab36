"""How the bundled recogniser is made: dlib's, with fewer channels, taught on faces that nobody has."""
