import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import {
  createError,
  type Description,
  describeRefusal,
  fp,
  type OptionFault,
  perOptions,
  Type
} from '../src/kit/index.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { EXPECTED_RANGE, isRange, rangeMatcher } from '../src/lib/http/networks.ts'
import { getOrCreate } from '../src/lib/memoize.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { File } from '../src/lib/units.ts'
import { unreadable } from '../src/lib/unreadable.ts'

export const key = 'ipAccess'

export const options = Type.Object(
  {
    ...gate,
    allow: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        description:
          'The allowed addresses; all others are denied: addresses, CIDR ranges, "loopback" or "private". Without it all addresses are allowed that are not denied.',
        examples: [['10.0.0.0/8', 'loopback']]
      })
    ),
    deny: Type.Array(Type.String(), {
      default: [],
      description:
        'The denied addresses, which win over allow: addresses, CIDR ranges, "loopback" or "private".',
      examples: [['203.0.113.0/24']]
    }),
    file: Type.Optional(
      File({
        description:
          'A file with further denied addresses, one address or range per line; "#" begins a comment.'
      })
    )
  },
  {
    additionalProperties: false,
    description: 'Allows and denies clients by address.',
    examples: [{ allow: ['private'] }]
  }
)

export const override = overrideOf(options)
export type IpAccessOptions = Static<typeof options>

export function faults({ allow = [], deny, file }: IpAccessOptions): OptionFault[] {
  const inLists = ([path, ranges]: readonly [string, readonly string[]]): OptionFault[] =>
    ranges.flatMap((range, i) => (isRange(range) ? [] : [{ path: [path, i], message: notARange(range) }]))
  return [
    ...[['allow', allow] as const, ['deny', deny] as const].flatMap(inLists),
    ...(file === undefined ? [] : fileFaults(file))
  ]
}

// Names of files that list denied addresses, and allowed ones.
const DENY_NAME =
  /disallow|not.?allow|block|den(y|ied)|ban|black|bad|drop|reject|abus|attack|threat|spam|bogon|forbid|exclud|crawl|bot|\btor\b/i
const ALLOW_NAME =
  /allow|white|permit|trust|accept|safe|friend|partner|customer|client|office|staff|intern|vpn|admin|known/i

/** Warns of a file whose name suggests a list of allowed addresses, since `file` denies. */
export function warnings({ allow, deny, file }: IpAccessOptions): string[] {
  if (file === undefined) return []
  const name = basename(file)
  if (DENY_NAME.test(name)) return []
  if (ALLOW_NAME.test(name))
    return [
      `refuses the addresses in ${name}: "ipAccess.file" denies, though its name suggests a list of allowed addresses; write those into "allow"`
    ]
  if (allow !== undefined || deny.length > 0) return []
  return [
    `refuses the addresses in ${name} and no others: "ipAccess.file" denies; addresses that may pass are written into "allow"`
  ]
}

/** The address is denied (RFC 9110 section 15.5.4). */
export const IpAccessDenied = createError('SP_ERR_IP_ACCESS_DENIED', 'Forbidden: address not allowed', 403)

export const describes = (options: IpAccessOptions): Description => ({
  refusals: restricts(options) ? [describeRefusal(IpAccessDenied)] : []
})

const restricts = ({ allow, deny, file }: IpAccessOptions): boolean =>
  allow !== undefined || deny.length > 0 || file !== undefined

// The maximum number of cached verdicts; beyond it the cache is cleared.
const MAX_CACHED_VERDICTS = 10_000

export default fp<IpAccessOptions>(
  async function ipAccess(app, root) {
    // Routes with the same options share the cache of verdicts.
    const predicates = new Map<IpAccessOptions, AddressPredicate>()
    perOptions(app, key, root, (options) => {
      if (!restricts(options)) return undefined
      const isAllowed = getOrCreate(predicates, options, () => compileRanges(options))
      return {
        onRequest(request, _reply, done) {
          done(isAllowed(addressOf(request)) ? undefined : new IpAccessDenied())
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

type AddressPredicate = (address: string) => boolean

function compileRanges({ allow, deny, file }: IpAccessOptions): AddressPredicate {
  const denied = rangeMatcher(file === undefined ? deny : [...deny, ...linesOf(file).map(({ text }) => text)])
  const allowed = allow === undefined ? () => true : rangeMatcher(allow)
  const verdicts = new Map<string, boolean>()
  return (address) => {
    const known = verdicts.get(address)
    if (known !== undefined) return known
    if (verdicts.size >= MAX_CACHED_VERDICTS) verdicts.clear()
    // A closed connection has no address and may have had a denied one.
    const verdict = address !== '' && !denied(address) && allowed(address)
    verdicts.set(address, verdict)
    return verdict
  }
}

const notARange = (text: string): string => `expected an address, got "${text}"; ${EXPECTED_RANGE} would work`

function fileFaults(file: string): OptionFault[] {
  try {
    return linesOf(file)
      .filter(({ text }) => !isRange(text))
      .map(({ text, line }) => ({ path: ['file'], message: `${file}:${line}: ${notARange(text)}` }))
  } catch (error) {
    return [{ path: ['file'], message: unreadable(file, error) }]
  }
}

/** Reads the lines of a file, without comments and empty lines. */
function linesOf(file: string): { text: string; line: number }[] {
  return readFileSync(file, 'utf8')
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((written, i) => ({ text: written.replace(/#.*/, '').trim(), line: i + 1 }))
    .filter(({ text }) => text !== '')
}
