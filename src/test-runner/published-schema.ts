import { forEditors } from '../config/editor-schema.ts'
import { ACCEPTED, publishedSchema } from '../config/published-schema.ts'
import { testFileOptions } from './schema.ts'

/** Returns the published schema of `gateway.test.json`, with what editors need beside JSON Schema. */
export const composeTestSchema = (): Record<string, unknown> => ({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Tests of a Sallyport gateway configuration',
  ...(forEditors(publishedSchema(testFileOptions)) as Record<string, unknown>),
  allowComments: true,
  allowTrailingCommas: true,
  // Objects that take the keys of users refer to it.
  $defs: { accepted: ACCEPTED }
})
