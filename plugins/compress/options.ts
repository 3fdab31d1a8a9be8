import { Size, Type } from '../../src/kit/index.ts'
import type { ContentCoding } from '../../src/lib/http/accept-encoding.ts'
import { overrideOf, type Static } from '../../src/lib/schema.ts'
import { EXPECTED } from '../../src/lib/units.ts'

const CODINGS: readonly ContentCoding[] = ['zstd', 'br', 'gzip']

const TYPES = [
  'text/*',
  'application/json',
  '*+json',
  'application/x-ndjson',
  'application/javascript',
  'application/x-javascript',
  'application/xml',
  '*+xml',
  'application/wasm'
]

// Higher levels take more than 10 ms for 32 kB, or more than 11 MB for a stream.
const levelOf = (name: string, maximum: number, byDefault: number): ReturnType<typeof Type.Integer> =>
  Type.Integer({ minimum: 1, maximum, default: byDefault, description: `The level of ${name}.` })

export const options = Type.Object(
  {
    encodings: Type.Array(Type.Unsafe<ContentCoding>({ enum: [...CODINGS] }), {
      minItems: 1,
      uniqueItems: true,
      default: [...CODINGS],
      description: 'The content codings, in the order of preference where a client accepts several equally.'
    }),
    levels: Type.Object(
      {
        zstd: levelOf('zstd', 9, 3),
        br: levelOf('Brotli', 7, 4),
        gzip: levelOf('gzip', 9, 6)
      },
      {
        additionalProperties: false,
        default: {},
        description: 'How much time each coding spends on a smaller body.',
        examples: [{ br: 5, gzip: 6 }]
      }
    ),
    minSize: Size({ default: '1kb', description: 'The length from which a body is compressed.' }),
    types: Type.Array(
      Type.String({
        pattern: '^(\\*\\+|[a-z0-9!#$&^_.+-]+/)([a-z0-9!#$&^_.+-]+|(?<=/)\\*)$',
        [EXPECTED]: 'a media type in lower case such as "application/json", "text/*" or "*+json"'
      }),
      { default: TYPES, description: 'The media types that are compressed.' }
    ),
    streams: Type.Boolean({
      default: false,
      description: 'Whether to compress event streams, too; each event is flushed.'
    })
  },
  {
    additionalProperties: false,
    description: 'Compresses responses with zstd, Brotli or gzip.',
    examples: [{ encodings: ['br', 'gzip'] }]
  }
)

export const override = overrideOf(options)
export type CompressOptions = Static<typeof options>
