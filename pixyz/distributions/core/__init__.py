"""What every distribution is made with: base, joints, views, marginals; it knows no family."""
