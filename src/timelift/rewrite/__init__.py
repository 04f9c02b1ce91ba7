"""The rewrite: the same sums in the form that PyTorch's CPU kernels are quickest at, forward and backward.

Always on. Each function here has a plain form beside it, of PyTorch's own operators, which stands wherever
something else looks at the operators: under torch.compile, export, tracing and torch.func, and on a GPU.
"""
