"""The blocks of a layer, one module each, in the order of the data: window, array, scale, threshold, pool."""
