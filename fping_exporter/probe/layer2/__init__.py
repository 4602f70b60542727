"""Asks guests at layer 2 whether their kernels live: by ARP (RFC 826) and neighbour discovery (RFC 4861).

No security group keeps these out. Each question is a frame to the MAC of one guest; it is written to a
packet socket, so that the kernel's neighbour table is neither read nor filled.
"""
