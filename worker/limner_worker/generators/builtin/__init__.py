"""The built-in generator families: the latent flow model and the conditional GAN."""
