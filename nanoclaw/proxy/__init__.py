"""The way from agents to the model: holds the credentials, decides who may ask, and accounts for what was used."""
