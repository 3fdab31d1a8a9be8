import { isIP } from 'node:net'
import { expandRanges } from './networks.ts'

type Interval = readonly [first: bigint, last: bigint]

/** A set of IP addresses: sorted, disjoint intervals of each family. */
export interface AddressSet {
  readonly ipv4: readonly Interval[]
  readonly ipv6: readonly Interval[]
}

const IPV4_BITS = 32
const IPV6_BITS = 128
const MAPPED_PREFIX = 0xffffn << 32n
const MAPPED_BITS = 96

const allOf = (bits: number): readonly Interval[] => [[0n, (1n << BigInt(bits)) - 1n]]

/** Every address. */
export const EVERY_ADDRESS: AddressSet = { ipv4: allOf(IPV4_BITS), ipv6: allOf(IPV6_BITS) }

/** Returns the addresses in a list of addresses, CIDR ranges and presets; what is no range is left out. */
export function addressSet(ranges: readonly string[]): AddressSet {
  const found: { ipv4: Interval[]; ipv6: Interval[] } = { ipv4: [], ipv6: [] }
  for (const range of expandRanges(ranges)) {
    const [address = '', bits] = range.replace(/%.*$/, '').split('/')
    const kind = isIP(address)
    if (kind === 0) continue
    const value = kind === 4 ? ipv4Value(address) : ipv6Value(address)
    const total = kind === 4 ? IPV4_BITS : IPV6_BITS
    const length = bits === undefined ? total : Number(bits)
    // An IPv4-mapped address is one of IPv4 (RFC 4291 section 2.5.5.2).
    if (kind === 6 && length >= MAPPED_BITS && value >> 32n === MAPPED_PREFIX >> 32n)
      found.ipv4.push(interval(value & 0xffffffffn, length - MAPPED_BITS, IPV4_BITS))
    else found[kind === 4 ? 'ipv4' : 'ipv6'].push(interval(value, length, total))
  }
  return { ipv4: joined(found.ipv4), ipv6: joined(found.ipv6) }
}

/** Returns the addresses of one set that are not in another. */
export const withoutAddresses = (set: AddressSet, other: AddressSet): AddressSet => ({
  ipv4: without(set.ipv4, other.ipv4),
  ipv6: without(set.ipv6, other.ipv6)
})

/** Returns an address of a set as text; undefined for an empty set. */
export function anyAddress({ ipv4, ipv6 }: AddressSet): string | undefined {
  const [four, six] = [ipv4[0]?.[0], ipv6[0]?.[0]]
  if (four !== undefined) return [24n, 16n, 8n, 0n].map((shift) => (four >> shift) & 0xffn).join('.')
  return six === undefined ? undefined : ipv6Text(six)
}

/** Returns one address of every part of the address space in which each of some lists is the same throughout. */
export function addressCells(lists: readonly (readonly string[])[]): string[] {
  const found = new Set<string>()
  const sets = [EVERY_ADDRESS, ...lists.flat().map((range) => addressSet([range]))]
  for (const { ipv4, ipv6 } of sets) {
    for (const starts of startsOf(ipv4, IPV4_BITS)) found.add(anyAddress({ ipv4: [starts], ipv6: [] }) ?? '')
    for (const starts of startsOf(ipv6, IPV6_BITS)) found.add(anyAddress({ ipv4: [], ipv6: [starts] }) ?? '')
  }
  return [...found]
}

/** Returns where intervals begin, and where what follows them does. */
const startsOf = (intervals: readonly Interval[], bits: number): Interval[] =>
  intervals
    .flatMap(([first, last]) => [first, last + 1n])
    .filter((value) => value < 1n << BigInt(bits))
    .map((value) => [value, value] as const)

function interval(value: bigint, length: number, total: number): Interval {
  const size = BigInt(total - length)
  const first = (value >> size) << size
  return [first, first + (1n << size) - 1n]
}

function joined(intervals: readonly Interval[]): Interval[] {
  const made: [bigint, bigint][] = []
  for (const [first, last] of intervals.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    const before = made.at(-1)
    if (before === undefined || first > before[1] + 1n) made.push([first, last])
    else if (last > before[1]) before[1] = last
  }
  return made
}

function without(intervals: readonly Interval[], others: readonly Interval[]): Interval[] {
  const made: Interval[] = []
  let i = 0
  for (const [first, last] of intervals) {
    let from = first
    while (i < others.length && (others[i] as Interval)[1] < from) i++
    for (let j = i; j < others.length && (others[j] as Interval)[0] <= last && from <= last; j++) {
      const [start, end] = others[j] as Interval
      if (start > from) made.push([from, start - 1n])
      from = end + 1n
    }
    if (from <= last) made.push([from, last])
  }
  return made
}

const ipv4Value = (text: string): bigint =>
  text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n)

function ipv6Value(text: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  const tail = dotted === null ? 0n : ipv4Value(dotted[2] ?? '')
  const hex =
    dotted === null ? text : `${dotted[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`
  const [head = '', rest] = hex.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [before, behind] = [groups(head), groups(rest ?? '')]
  const all =
    rest === undefined
      ? before
      : [...before, ...Array(8 - before.length - behind.length).fill('0'), ...behind]
  return all.reduce((value: bigint, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}

const ipv6Text = (value: bigint): string =>
  new URL(
    `http://[${Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16)).join(':')}]`
  ).hostname.slice(1, -1)
