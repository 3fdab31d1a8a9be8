import type { Comparison } from '../src/kit/concern.ts'
import {
  createError,
  type Description,
  describeRefusal,
  fp,
  type OptionFault,
  perOptions,
  Type
} from '../src/kit/index.ts'
import { addressOutside } from '../src/lib/compare-options.ts'
import { AddressList, addressFaults, readAddresses } from '../src/lib/http/address-lists.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { rangeMatcher } from '../src/lib/http/networks.ts'
import { withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration } from '../src/lib/units.ts'

export const key = 'maintenance'

export const options = Type.Object(
  {
    ...gate,
    on: Type.Boolean({
      default: true,
      description: 'Whether requests are refused; a variable can decide.',
      examples: [true]
    }),
    allow: AddressList({
      default: [],
      description:
        'The addresses that still come through: addresses, CIDR ranges, "loopback", "private" or "file:NAME".',
      examples: [['private']]
    }),
    retryAfter: Duration({
      default: '10m',
      description: 'When clients are told to come back (Retry-After).'
    })
  },
  {
    additionalProperties: false,
    description: 'Answers 503 while a service is under maintenance.',
    examples: [{ on: true, allow: ['private'], retryAfter: '10m' }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const guardsAccess = false
export type MaintenanceOptions = Static<typeof options>

export const faults = ({ allow }: MaintenanceOptions): OptionFault[] => addressFaults(allow, ['allow'])

/** The service is under maintenance (RFC 9110 section 15.6.4). */
export const MaintenanceOn = createError(
  'SP_ERR_MAINTENANCE_ON',
  'Service unavailable: under maintenance, retry later',
  503
)

export const describes = ({ on }: MaintenanceOptions): Description =>
  on ? { refusals: [describeRefusal(MaintenanceOn)] } : {}

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  restricts: ({ on }: MaintenanceOptions) => on,
  changes(before: MaintenanceOptions, after: MaintenanceOptions) {
    const [more, less] = [
      addressOutside(after.allow, before.allow),
      addressOutside(before.allow, after.allow)
    ]
    const path = ['allow']
    if (!before.on || !after.on) return []
    return [
      ...(before.retryAfter === after.retryAfter
        ? []
        : ([
            {
              class: 'exposure',
              path: ['retryAfter'],
              message: 'tells clients another time to come back'
            }
          ] as const)),
      ...(more === undefined
        ? []
        : ([
            { class: 'widened-access', path, message: `lets more addresses pass, such as ${more}` }
          ] as const)),
      ...(less === undefined
        ? []
        : ([{ class: 'narrowed-access', path, message: `refuses more addresses, such as ${less}` }] as const))
    ]
  },
  admits: ({ on, allow }: MaintenanceOptions, { ip }) =>
    !on || (ip === '' ? undefined : rangeMatcher(readAddresses(allow))(ip))
}

export default fp<MaintenanceOptions>(
  async function maintenance(app, root) {
    perOptions(app, key, root, ({ on, allow, retryAfter }) => {
      if (!on) return undefined
      const isAllowed = rangeMatcher(readAddresses(allow))
      const headers = { 'retry-after': String(Math.ceil(duration(retryAfter) / 1000)) }
      return {
        onRequest(request, _reply, done) {
          done(isAllowed(addressOf(request)) ? undefined : withHeaders(new MaintenanceOn(), headers))
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)
