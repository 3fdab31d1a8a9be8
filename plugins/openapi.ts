import type { Comparison, Documentation } from '../src/kit/concern.ts'
import { fp, Type } from '../src/kit/index.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'

export const key = 'openapi'

const ofOperations = {
  summary: Type.Optional(Type.String({ description: 'A short summary of the operations.' })),
  description: Type.Optional(Type.String({ description: 'A description of the operations, in Markdown.' })),
  tags: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), {
      description: 'The tags that the operations are grouped by.',
      examples: [['orders']]
    })
  ),
  deprecated: Type.Boolean({ default: false, description: 'Whether clients should not use it any more.' })
}
const settings = {
  additionalProperties: false,
  description:
    'Texts of the OpenAPI description that "sallyport openapi" prints; false leaves a route or a group out.',
  examples: [{ summary: 'Returns an order', tags: ['orders'] }]
} as const

export const options = Type.Object(
  {
    info: Type.Object(
      {
        title: Type.String({ default: 'API', minLength: 1, description: 'The name of the API.' }),
        version: Type.String({ default: '1.0.0', minLength: 1, description: 'The version of the API.' }),
        description: Type.Optional(
          Type.String({ description: 'A description of the whole API, in Markdown.' })
        )
      },
      {
        additionalProperties: false,
        default: {},
        description: 'What the whole API is called.',
        examples: [{ title: 'Shop', version: '2.1.0' }]
      }
    ),
    ...ofOperations
  },
  settings
)

export const override = overrideOf(Type.Object(ofOperations, settings))
export const stateless = true
export const always = true
export type OpenApiOptions = Static<typeof options>

export const documents = (options: OpenApiOptions): Documentation => options

const DESCRIBES = { class: 'exposure', message: 'describes the API otherwise' } as const

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: {
    info: DESCRIBES,
    summary: DESCRIBES,
    description: DESCRIBES,
    tags: DESCRIBES,
    deprecated: DESCRIBES
  },
  onOff: { class: 'exposure', message: 'describes routes of the API, or leaves them out' }
}

// Nothing happens at a request: the description is made from the config.
export default fp<OpenApiOptions>((_app, _root, done) => done(), { name: key, fastify: '5.x' })
