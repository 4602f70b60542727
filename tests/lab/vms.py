#!/usr/bin/python3
"""Give the servers' addresses to something that answers pings, or does not.

    vms.py up [OPTIONS]      build all of it anew
    vms.py refresh [OPTIONS] follow Nova and Neutron: what is new comes, what is
                             gone goes, the rest keeps its fate
    vms.py set FATE WHO...   alive, absent or silent; by address, server id, name
    vms.py announce WHO...   let all namespaces ask anew for the MACs of these
    vms.py status
    vms.py down

Options: --alive PERCENT  --dead absent|silent|mixed  --alive-list FILE

What is built is written to vms.tsv, a line per network, then one per address:

net   ID NAME KIND CIDRS
addr  NETWORK_ID ADDRESS FATE SERVER_ID SERVER_NAME PROJECT_ID STATUS MAC HOST
      FIXED ROUTER_ID

KIND is shared, external or tenant.  FATE is alive, absent (nobody has the
address) or silent (somebody has it, and drops what is sent to it).  FIXED and
ROUTER_ID are of floating addresses only, which share the fate of the address
behind them.  See README.md.
"""

import argparse
import collections
import dataclasses
import fcntl
import os
import subprocess
import sys
import zlib

from keystoneauth1 import session
from keystoneauth1.identity import v3
import yaml

LAB = os.environ.get('OPENSTACK_LAB_DIR', '/var/tmp/openstack-lab')
PLAN = os.path.join(LAB, 'vms.tsv')
MADE = os.path.join(LAB, 'run/vms.netns')   # the namespaces made here, one a line
NEIGH = os.path.join(LAB, 'run/vms.neigh')  # the neighbour table limits found
FATES = ('alive', 'absent', 'silent')
# the side of these networks that the root namespace is on
ROOT_LINK = {'shared': 'lab-root', 'external': 'lab-pub'}
# the host whose ovnmeta- namespaces are built: guests elsewhere hear nothing
# from them
CHASSIS = 'lab-compute-1'


@dataclasses.dataclass(frozen=True)
class Net:
    id: str
    name: str
    kind: str
    cidrs: str

    @property
    def guests(self):
        """The namespace that has the addresses of the network's servers."""
        return {'shared': 'lab-net', 'external': 'lab-ext'}.get(
            self.kind, 'vms-' + self.id)


@dataclasses.dataclass(frozen=True)
class Addr:
    network_id: str
    address: str
    fate: str
    server_id: str
    server_name: str
    project_id: str
    status: str
    mac: str
    host: str
    fixed: str = '-'
    router_id: str = '-'

    @property
    def port(self):
        """What has a fate: the server's own address."""
        fixed = self.address if self.fixed == '-' else self.fixed
        return self.server_id, self.mac, fixed

    def names(self):
        return {self.address, self.server_id, self.server_name}


# ------------------------------------------------------------------ the cloud
class Cloud:
    """What Nova and Neutron say."""

    def __init__(self):
        with open(os.path.join(LAB, 'clouds.yaml')) as f:
            auth = yaml.safe_load(f)['clouds']['admin']['auth']
        self.session = session.Session(auth=v3.Password(**auth))
        listed = {kind: self.get('network', '/v2.0/%s' % kind)[kind] for kind in
                  ('networks', 'subnets', 'ports', 'routers', 'floatingips')}
        self.subnets = {s['id']: s for s in listed['subnets']}
        self.ports = listed['ports']
        self.routers = listed['routers']
        self.floating = {f['floating_ip_address']: f for f in listed['floatingips']}
        cidrs = collections.defaultdict(list)
        for subnet in listed['subnets']:
            cidrs[subnet['network_id']].append(subnet['cidr'])
        self.nets = {n['id']: Net(
            n['id'], n['name'], 'external' if n['router:external'] else
            'shared' if n['shared'] else 'tenant',
            ','.join(sorted(cidrs[n['id']]))) for n in listed['networks']}

    def get(self, service, path):
        return self.session.get(
            path, endpoint_filter={'service_type': service}).json()

    def port_of(self, network_id, owner):
        for port in self.ports:
            if (port['network_id'], port['device_owner']) == (network_id, owner):
                return port
        return None

    def interface(self, port):
        """The addresses of a port as `ip` wants them."""
        return ['%s/%s' % (fixed['ip_address'],
                           self.subnets[fixed['subnet_id']]['cidr'].split('/')[1])
                for fixed in port['fixed_ips']]

    def gateways(self, network_id):
        return [s['gateway_ip'] + '/' + s['cidr'].split('/')[1]
                for s in self.subnets.values() if s['network_id'] == network_id]

    def servers(self):
        marker = ''
        while True:
            page = self.get('compute', '/servers/detail?all_tenants=1&limit=500'
                            + marker)['servers']
            yield from page
            if not page:
                return
            marker = '&marker=' + page[-1]['id']

    def addrs(self, fate):
        """Every address, with the fate that this function gives its server."""
        network = {(port['mac_address'], fixed['ip_address']): port['network_id']
                   for port in self.ports for fixed in port['fixed_ips']}
        for server in self.servers():
            for address in sum(server['addresses'].values(), []):
                ip, mac = address['addr'], address['OS-EXT-IPS-MAC:mac_addr']
                fip = self.floating.get(ip)
                network_id = (fip['floating_network_id'] if fip else
                              network.get((mac, ip)))
                if network_id is None:
                    continue   # Nova has not heard yet that it is gone
                yield Addr(
                    network_id, ip, fate(server, ip), server['id'],
                    server['name'], server['tenant_id'], server['status'], mac,
                    server['OS-EXT-SRV-ATTR:host'] or '-',
                    *((fip['fixed_ip_address'], fip['router_id']) if fip else ()))


# ----------------------------------------------------------------- the kernel
def run(*command, stdin=''):
    subprocess.run(command, input=stdin, text=True, check=True)


def ip(namespace, *lines):
    run('ip', *(['-n', namespace] if namespace else []), '-batch', '-',
        stdin='\n'.join(lines) + '\n')


def nft(namespace, *lines):
    run('ip', 'netns', 'exec', namespace, 'nft', '-f', '-',
        stdin='\n'.join(lines) + '\n')


def made():
    try:
        with open(MADE) as f:
            return f.read().split()
    except FileNotFoundError:
        return []


def namespace(name, forward=0):
    with open(MADE, 'a') as f:
        f.write(name + '\n')
    run('ip', 'netns', 'add', name)
    run('ip', 'netns', 'exec', name, 'sysctl', '-q', '-w',
        'net.ipv4.ip_forward=%d' % forward, 'net.ipv6.conf.default.accept_ra=0',
        'net.ipv6.conf.default.accept_dad=0')
    ip(name, 'link set lo up')


def plug(net, into, name, addresses, *more, mac=None):
    """Connect a namespace to a network by an interface with these addresses."""
    ip(into, 'link add %s %s type veth peer name %s netns %s' % (
        name, 'address ' + mac if mac else '', name, net.guests))
    if not any(':' in a for a in addresses):
        sysctl = ('sysctl', '-q', '-w', 'net.ipv6.conf.%s.disable_ipv6=1' % name)
        run(*(('ip', 'netns', 'exec', into) if into else ()), *sysctl)
    ip(into, *('address add %s dev %s%s' % (a, name, ' nodad' if ':' in a else '')
               for a in addresses), 'link set %s up' % name, *more)
    ip(net.guests, 'link set %s master br0 up' % name)


def build_network(net, cloud):
    namespace(net.guests)
    ip(net.guests, 'link add br0 type bridge', 'link set br0 up')
    nft(net.guests,
        'table inet lab {',
        ' set silent4 { type ipv4_addr; }', ' set silent6 { type ipv6_addr; }',
        ' set remote4 { type ipv4_addr; }', ' set remote6 { type ipv6_addr; }',
        ' set chassis4 { type ipv4_addr; }', ' set chassis6 { type ipv6_addr; }',
        ' chain input { type filter hook input priority 0;',
        '  ip daddr @silent4 drop',
        '  ip saddr @chassis4 ip daddr @remote4 drop',
        # not neighbour discovery: who drops an echo request is there all the same
        '  ip6 daddr @silent6 icmpv6 type echo-request drop',
        '  ip6 saddr @chassis6 ip6 daddr @remote6 icmpv6 type echo-request drop',
        ' }', '}')
    gateways = cloud.gateways(net.id)
    if net.kind in ROOT_LINK:
        for cidr in net.cidrs.split(','):
            refuse_own(cidr, net.name)
        plug(net, None, ROOT_LINK[net.kind], gateways)
    if net.kind == 'external':
        return
    ip(net.guests, *('route add %s dev br0' % c for c in net.cidrs.split(',')))
    if net.kind == 'tenant':   # so that what came by the router finds back
        ip(net.guests, *('route add default via %s dev br0' % g.split('/')[0]
                         for g in gateways))
    # No namespace has a default route that leads out of the lab, unlike on a
    # network node.
    dhcp = cloud.port_of(net.id, 'network:dhcp')
    if dhcp:
        namespace('qdhcp-' + net.id)
        plug(net, 'qdhcp-' + net.id, 'tap' + dhcp['id'][:11],
             cloud.interface(dhcp), mac=dhcp['mac_address'])
    meta = cloud.port_of(net.id, 'network:distributed')
    if meta:
        namespace('ovnmeta-' + net.id)
        name = 'tap%s1' % net.id[:10]
        plug(net, 'ovnmeta-' + net.id, name, cloud.interface(meta),
             'address add 169.254.169.254/32 dev ' + name, mac=meta['mac_address'])
        nft(net.guests, *('add element inet lab chassis%d { %s }' % (
            family(f['ip_address']), f['ip_address']) for f in meta['fixed_ips']))


def build_router(router, cloud):
    name = 'qrouter-' + router['id']
    namespace(name, forward=1)
    for port in cloud.ports:
        prefix = {'network:router_interface': 'qr-',
                  'network:router_gateway': 'qg-'}.get(port['device_owner'])
        if port['device_id'] == router['id'] and prefix:
            plug(cloud.nets[port['network_id']], name, prefix + port['id'][:11],
                 cloud.interface(port), mac=port['mac_address'])
    nft(name, 'table ip lab {', ' map floating { type ipv4_addr : ipv4_addr; }',
        ' chain prerouting { type nat hook prerouting priority dstnat;',
        '  dnat to ip daddr map @floating', ' }', '}')


def refuse_own(cidr, name):
    """The root namespace is to be joined to nothing that it reaches already."""
    routes = subprocess.run(
        ['ip', '-6' if ':' in cidr else '-4', 'route', 'show', 'root', cidr],
        capture_output=True, text=True, check=True).stdout.splitlines()
    if any(not route.startswith('unreachable ') for route in routes):
        raise SystemExit('the machine uses addresses within %s, the network %s'
                         % (cidr, name))


def family(address):
    return 6 if ':' in address else 4


def things(addr, nets):
    """What there is in the kernel for an address: (tool, namespace, thing)."""
    at, v = addr.address, family(addr.address)
    if addr.fixed != '-':
        router = 'qrouter-' + addr.router_id
        return {('ip', router, 'address %%s %s/32 dev lo' % at),
                ('nft', router, '%%s element ip lab floating { %s : %s }' % (
                    at, addr.fixed))}
    guests = nets[addr.network_id].guests
    found = set()
    if addr.fate != 'absent':
        found.add(('ip', guests, 'address %%s %s/%d dev br0%s' % (
            (at, 32, '') if v == 4 else (at, 128, ' nodad'))))
    if addr.fate == 'silent':
        found.add(('nft', guests, '%%s element inet lab silent%d { %s }' % (v, at)))
    if addr.host != CHASSIS:
        found.add(('nft', guests, '%%s element inet lab remote%d { %s }' % (v, at)))
    return found


def apply(old, new, nets):
    """Change the kernel from the old addresses to the new ones."""
    before = {t for a in old for t in things(a, nets)}
    after = {t for a in new for t in things(a, nets)}
    lines = collections.defaultdict(list)
    for verb, changed in ('delete', before - after), ('add', after - before):
        for tool, guests, thing in sorted(changed):
            lines[tool, guests].append(thing % verb)
    for (tool, guests), commands in lines.items():
        {'ip': ip, 'nft': nft}[tool](guests, *commands)
    if old:
        forget(a.address for a in set(new) - set(old) if a.fate != 'absent')


def forget(addresses):
    """Let all namespaces ask anew for the MACs of these addresses.

    A guest that boots announces itself.  Without it a namespace would send for
    seconds to the MAC of who had the address before, which the tests of layer 2
    give to a kernel of its own.
    """
    lines = ['neigh flush to ' + address for address in sorted(addresses)]
    for name in ('', *made()) if lines else ():
        ip(name, *lines)


# ------------------------------------------------------------------- the plan
def load():
    nets, addrs = {}, []
    try:
        with open(PLAN) as f:
            for line in f:
                kind, *fields = line.rstrip('\n').split('\t')
                if kind == 'net':
                    nets[fields[0]] = Net(*fields)
                else:
                    addrs.append(Addr(*fields))
    except FileNotFoundError:
        pass
    return nets, addrs


def save(nets, addrs):
    with open(PLAN + '.new', 'w') as f:
        for kind, rows in ('net', nets.values()), ('addr', addrs):
            for row in rows:
                print(kind, *dataclasses.astuple(row), sep='\t', file=f)
    os.rename(PLAN + '.new', PLAN)


def chooser(args):
    """The fate of a new server, always the same for the same name."""
    listed = None
    if args.alive_list:
        with open(args.alive_list) as f:
            listed = set(f.read().split())

    def fate(server, address):
        chance = zlib.crc32(server['name'].encode())
        if server['status'] == 'ACTIVE':
            if listed is not None:
                if listed & {server['id'], server['name'], address}:
                    return 'alive'
            elif chance % 1000 < args.alive * 10:
                return 'alive'
        if args.dead == 'mixed':
            return ('absent', 'silent')[chance // 1000 % 2]
        return args.dead
    return fate


def refresh(args):
    cloud = Cloud()
    nets, old = load()
    fates = {a.port: a.fate for a in old}
    new = list(cloud.addrs(chooser(args)))
    # a floating address has the fate of the one behind it
    fates = {**{a.port: a.fate for a in new if a.fixed == '-'}, **fates}
    new = [dataclasses.replace(a, fate=fates.get(a.port, 'absent')) for a in new]
    namespaces = made()
    if not namespaces:
        raise_limits()
    for net in cloud.nets.values():
        if net.guests not in namespaces:
            build_network(net, cloud)
    for router in cloud.routers:
        if 'qrouter-' + router['id'] not in namespaces:
            build_router(router, cloud)
    nets = {**nets, **cloud.nets}
    apply(old, new, nets)
    save(nets, new)


def up(args):
    down(args)
    refresh(args)
    status(args)


def meant_by(args, addrs):
    for who in args.who:
        if not any(who in a.names() for a in addrs):
            raise SystemExit('%s: no such address or server; after a change in '
                             'Nova: vms.py refresh' % who)
    return {a.port for a in addrs if a.names() & set(args.who)}


def announce(args):
    _, addrs = load()
    meant = meant_by(args, addrs)
    forget(a.address for a in addrs if a.port in meant)


def set_fate(args):
    nets, old = load()
    meant = meant_by(args, old)
    new = [dataclasses.replace(a, fate=args.fate) if a.port in meant else a
           for a in old]
    apply(old, new, nets)
    save(nets, new)


def raise_limits():
    """By default the machine keeps 1024 neighbours, for all namespaces together."""
    wanted = {'net.%s.neigh.default.gc_thresh%d' % (v, n): 4096 * 2 ** n
              for v in ('ipv4', 'ipv6') for n in (3, 2, 1)}
    with open(NEIGH, 'w') as f:
        subprocess.run(['sysctl', *wanted], stdout=f, check=True)
    run('sysctl', '-q', '-w', *('%s=%d' % item for item in wanted.items()))


def down(args):
    # deleting a namespace deletes its interfaces and their peers, a little later
    for link in ROOT_LINK.values():
        subprocess.run(['ip', 'link', 'delete', link], stderr=subprocess.DEVNULL)
    for name in made():
        subprocess.run(['ip', 'netns', 'delete', name], stderr=subprocess.DEVNULL)
    if os.path.exists(NEIGH):
        run('sysctl', '-q', '-p', NEIGH)
    for path in MADE, NEIGH, PLAN:
        if os.path.exists(path):
            os.remove(path)


def status(args):
    nets, addrs = load()
    if not nets:
        print('no addresses are up')
    for net in nets.values():
        fates = collections.Counter(a.fate for a in addrs if a.network_id == net.id)
        print('%-10s %-8s %-30s %s  in %s' % (
            net.name, net.kind, net.cidrs,
            ' '.join('%s %d' % (fate, fates[fate]) for fate in FATES), net.guests))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    for name, function in (('up', up), ('refresh', refresh), ('set', set_fate),
                           ('announce', announce), ('status', status),
                           ('down', down)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        if function in (up, refresh):
            command.add_argument('--alive', type=float, default=80, metavar='PERCENT')
            command.add_argument('--dead', choices=('absent', 'silent', 'mixed'),
                                 default='mixed')
            command.add_argument('--alive-list', metavar='FILE')
        elif function is set_fate:
            command.add_argument('fate', choices=FATES)
        if function in (set_fate, announce):
            command.add_argument('who', nargs='+')
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit('must be run as root')
    with open(os.path.join(LAB, 'run/vms.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        args.function(args)


if __name__ == '__main__':
    sys.exit(main())
