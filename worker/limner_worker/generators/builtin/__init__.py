"""The built-in families: the latent flow model and the conditional GAN."""
