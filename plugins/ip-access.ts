import { basename } from 'node:path'
import type { Comparison, OptionChange } from '../src/kit/concern.ts'
import {
  createError,
  type Description,
  defineWarning,
  describeRefusal,
  fp,
  type OptionFault,
  perOptions,
  Type,
  type Warning
} from '../src/kit/index.ts'
import { readAddressSet } from '../src/lib/compare-options.ts'
import {
  AddressList,
  addressFaults,
  addressFileFaults,
  readAddresses,
  readAddressFile
} from '../src/lib/http/address-lists.ts'
import { type AddressSet, anyAddress, EVERY_ADDRESS, withoutAddresses } from '../src/lib/http/address-sets.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { rangeMatcher } from '../src/lib/http/networks.ts'
import { getOrCreate } from '../src/lib/memoize.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { File } from '../src/lib/units.ts'

export const key = 'ipAccess'

export const options = Type.Object(
  {
    ...gate,
    allow: Type.Optional(
      AddressList({
        minItems: 1,
        description:
          'The allowed addresses; all others are denied: addresses, CIDR ranges, "loopback", "private" or "file:NAME". Without it all addresses are allowed that are not denied.',
        examples: [['10.0.0.0/8', 'loopback']]
      })
    ),
    deny: AddressList({
      default: [],
      description:
        'The denied addresses, which win over allow: addresses, CIDR ranges, "loopback", "private" or "file:NAME".',
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
export const stateless = true
export type IpAccessOptions = Static<typeof options>

export const faults = ({ allow = [], deny, file }: IpAccessOptions): OptionFault[] => [
  ...addressFaults(allow, ['allow']),
  ...addressFaults(deny, ['deny']),
  ...(file === undefined ? [] : addressFileFaults(file, ['file']))
]

// Names of files that list denied addresses, and allowed ones.
const DENY_NAME =
  /disallow|not.?allow|block|den(y|ied)|ban|black|bad|drop|reject|abus|attack|threat|spam|bogon|forbid|exclud|crawl|bot|\btor\b/i
const ALLOW_NAME =
  /allow|white|permit|trust|accept|safe|friend|partner|customer|client|office|staff|intern|vpn|admin|known/i

const deniesFile = defineWarning(
  'SP_WARN_IP_ACCESS_FILE',
  'high',
  'A file that denies addresses reads like a list of allowed ones'
)

/** Warns of a file whose name suggests a list of allowed addresses, since `file` denies. */
export function warnings({ allow, deny, file }: IpAccessOptions): Warning[] {
  if (file === undefined) return []
  const name = basename(file)
  if (DENY_NAME.test(name)) return []
  if (ALLOW_NAME.test(name))
    return [
      deniesFile(
        `refuses the addresses in ${name}: "ipAccess.file" denies, though its name suggests a list of allowed addresses; "allow": ["file:${name}"] allows them`,
        ['file']
      )
    ]
  if (allow !== undefined || deny.length > 0) return []
  return [
    deniesFile(
      `refuses the addresses in ${name} and no others: "ipAccess.file" denies; "allow": ["file:${name}"] would allow them instead`,
      ['file']
    )
  ]
}

/** The address is denied (RFC 9110 section 15.5.4). */
export const IpAccessDenied = createError('SP_ERR_IP_ACCESS_DENIED', 'Forbidden: address not allowed', 403)

export const describes = (options: IpAccessOptions): Description => ({
  refusals: restricts(options) ? [describeRefusal(IpAccessDenied)] : []
})

function restricts({ allow, deny, file }: IpAccessOptions): boolean {
  return allow !== undefined || deny.length > 0 || file !== undefined
}

/** How `diff` compares two resolved options: by the addresses that may send requests. */
export const comparison: Comparison = {
  restricts,
  changes(before: IpAccessOptions, after: IpAccessOptions) {
    const [old, next] = [allowedBy(before), allowedBy(after)]
    const [more, less] = [anyAddress(withoutAddresses(next, old)), anyAddress(withoutAddresses(old, next))]
    const found: OptionChange[] = []
    if (more !== undefined)
      found.push({ class: 'widened-access', path: [], message: `allows more addresses, such as ${more}` })
    if (less !== undefined)
      found.push({ class: 'narrowed-access', path: [], message: `denies more addresses, such as ${less}` })
    return found
  },
  admits: (options: IpAccessOptions, { ip }) => (ip === '' ? undefined : compileRanges(options)(ip))
}

const allowedBy = ({ allow, deny, file }: IpAccessOptions): AddressSet =>
  withoutAddresses(
    allow === undefined ? EVERY_ADDRESS : readAddressSet(allow),
    readAddressSet(file === undefined ? deny : [...deny, `file:${file}`])
  )

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
  const denied = rangeMatcher([...readAddresses(deny), ...(file === undefined ? [] : readAddressFile(file))])
  const allowed = allow === undefined ? () => true : rangeMatcher(readAddresses(allow))
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
