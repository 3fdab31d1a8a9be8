import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'

export const options = Type.Object(
  {
    ui: Type.Boolean({
      default: true,
      description:
        'Whether the page is Swagger UI where @fastify/swagger-ui is installed; false for a page without scripts.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Serves the OpenAPI document of the gateway as openapi.json and openapi.yaml, and a page that shows it.',
    examples: [{ ui: true }]
  }
)

export type ApiDocsOptions = Static<typeof options>
