"""Commands of ``eventsolve-validate`` that are of this chip alone."""
