import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { createError, fp, type OptionFault, perOptions, Type } from '../src/kit/index.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { isRange, RANGE_SAYS, rangeMatcher } from '../src/lib/http/networks.ts'
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
          'Who may come, and nobody else: addresses, CIDR ranges, "loopback" or "private"; without it all may come that are not denied.'
      })
    ),
    deny: Type.Array(Type.String(), {
      default: [],
      description:
        'Who may not come, be they allowed or not: addresses, CIDR ranges, "loopback" or "private".'
    }),
    file: Type.Optional(
      File({
        description: 'A file with more to deny, one address or range a line; what follows a "#" is a comment.'
      })
    )
  },
  { additionalProperties: false, description: 'Which addresses may send requests.' }
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

// What files of addresses to deny are called, and those of addresses to allow.
const DENY_NAME =
  /disallow|not.?allow|block|den(y|ied)|ban|black|bad|drop|reject|abus|attack|threat|spam|bogon|forbid|exclud|crawl|bot|\btor\b/i
const ALLOW_NAME =
  /allow|white|permit|trust|accept|safe|friend|partner|customer|client|office|staff|intern|vpn|admin|known/i

/** Finds a file that reads like a list of what may come, while `file` denies. */
export function warnings({ allow, deny, file }: IpAccessOptions): string[] {
  if (file === undefined) return []
  const name = basename(file)
  const denies = DENY_NAME.test(name)
  if (denies || !(ALLOW_NAME.test(name) || (allow === undefined && deny.length === 0))) return []
  return [
    `refuses the addresses in ${name}: "ipAccess.file" denies, though it reads like a list to allow; "allow" lets in`
  ]
}

/** Requests from this address are not taken here (RFC 9110 section 15.5.4). */
export const IpAccessDenied = createError(
  'SP_ERR_IP_ACCESS_DENIED',
  'Requests from this address are not taken here',
  403
)

// How many addresses are remembered with their verdicts; beyond that all are forgotten, and judged anew.
const MAX_CACHED_VERDICTS = 10_000

export default fp<IpAccessOptions>(
  async function ipAccess(app, root) {
    // Routes that inherit the same options share a verdict on each address.
    const judges = new Map<IpAccessOptions, AddressPredicate>()
    perOptions(app, key, root, (said) => {
      if (said.allow === undefined && said.deny.length === 0 && said.file === undefined) return undefined
      const mayCome = getOrCreate(judges, said, () => compileRanges(said))
      return {
        onRequest(request, _reply, done) {
          done(mayCome(addressOf(request)) ? undefined : new IpAccessDenied())
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
    // Whose connection is gone has no address any more, and may have had one that is denied.
    const may = address !== '' && !denied(address) && allowed(address)
    verdicts.set(address, may)
    return may
  }
}

const notARange = (text: string): string => `"${text}" is no address; ${RANGE_SAYS} would do`

function fileFaults(file: string): OptionFault[] {
  try {
    return linesOf(file)
      .filter(({ text }) => !isRange(text))
      .map(({ text, line }) => ({ path: ['file'], message: `${file}:${line}: ${notARange(text)}` }))
  } catch (error) {
    return [{ path: ['file'], message: unreadable(file, error) }]
  }
}

/** Reads what a file says, line by line, without its comments and empty lines. */
function linesOf(file: string): { text: string; line: number }[] {
  return readFileSync(file, 'utf8')
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((written, i) => ({ text: written.replace(/#.*/, '').trim(), line: i + 1 }))
    .filter(({ text }) => text !== '')
}
