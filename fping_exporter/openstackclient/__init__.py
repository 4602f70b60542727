"""``openstack server ping``: os-fping's answers in python-openstackclient (the extra ``openstack``).

The exporter imports nothing from here.
"""
