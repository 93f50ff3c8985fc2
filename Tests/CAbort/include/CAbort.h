/* No part of the product: linked into the unit tests, and nothing calls it. */
