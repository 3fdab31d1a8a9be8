import { type About, type OptionFault, Size, type Static, Type } from '../../src/kit/index.ts'
import { type ShapeOptions, shapeFaults, shapeOptions } from '../../src/lib/body/shape.ts'
import { overrideOf } from '../../src/lib/schema.ts'
import { NO_SECRET } from '../../src/lib/units.ts'
import { setFaults } from './set-values.ts'

export const key = 'transform'

const { query, pick, omit, rename, set, remove } = shapeOptions

type Otherwise = 'pass' | 'reject'

const otherwise = { type: 'string', enum: ['pass', 'reject'] } as const

const part = (description: string, example: ShapeOptions, marks: object = {}) =>
  Type.Optional(
    Type.Object(
      {
        query,
        pick,
        omit,
        rename,
        set,
        remove,
        otherwise: Type.Optional(
          Type.Unsafe<Otherwise>({ ...otherwise, description: 'Replaces "otherwise" for this direction.' })
        ),
        maxBody: Type.Optional(
          Size({ description: 'Replaces "maxBody" for this direction.', examples: ['256kb'] })
        )
      },
      { additionalProperties: false, description, examples: [example], ...marks }
    )
  )

export const options = Type.Object(
  {
    request: part('Changes JSON bodies of requests before they are forwarded.', { set: { source: 'web' } }),
    response: part(
      'Changes JSON bodies of responses, whatever their status.',
      { omit: ['*.secret'] },
      { [NO_SECRET]: true }
    ),
    otherwise: Type.Unsafe<Otherwise>({
      ...otherwise,
      default: 'pass',
      description:
        'Whether bodies that are not JSON pass unchanged, or are rejected: requests with 415, responses with 502.'
    }),
    maxBody: Size({
      default: '1mb',
      description:
        'The maximum size of a body that is changed, also when decoded; beyond it a request is rejected with 413, a response with 502.'
    })
  },
  {
    additionalProperties: false,
    description: 'Changes JSON bodies of requests and responses.',
    examples: [{ response: { omit: ['*.secret'] } }]
  }
)

export const override = overrideOf(options)
export type TransformOptions = Static<typeof options>

/** How the bodies of one direction are changed. */
export interface PartOptions extends ShapeOptions {
  readonly otherwise: Otherwise
  readonly maxBody: string
}

/** Returns the options of one direction; undefined where its bodies are not changed. */
export function partOf(
  options: TransformOptions,
  direction: 'request' | 'response'
): PartOptions | undefined {
  const { otherwise, maxBody } = options
  const part = options[direction]
  return part === undefined ? undefined : { otherwise, maxBody, ...part }
}

export const faults = (options: TransformOptions, about: About): OptionFault[] =>
  (['request', 'response'] as const).flatMap((direction) => {
    const part = options[direction]
    if (part === undefined) return []
    return [...shapeFaults(part, [direction]), ...setFaults(part.set ?? {}, [direction, 'set'], about.paths)]
  })
