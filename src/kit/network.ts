import { isIP } from 'node:net'

const PRESETS: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10']
}

/** Reads an origin as browsers write it: lower case, without the port of its scheme. */
export function originOf(text: unknown): string | undefined {
  return typeof text === 'string' && URL.canParse(text) ? new URL(text).origin : undefined
}

/** Tells whether a text is an address, a CIDR range or the name of a preset. */
export function isRange(text: string): boolean {
  if (Object.hasOwn(PRESETS, text)) return true
  const [address = '', bits, more] = text.split('/')
  const kind = isIP(address)
  return (
    kind !== 0 &&
    more === undefined &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (kind === 4 ? 32 : 128)))
  )
}

/** Spells out the ranges of trusted proxies. */
export const trusted = (ranges: readonly string[]): string[] =>
  ranges.flatMap((range) => PRESETS[range] ?? [range])
