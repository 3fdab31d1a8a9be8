import t from 'tap'
import { type MediaKind, mediaKindOf, mediaTypeOf } from '../../../../src/lib/body/media-kind.ts'

t.test('tells what a Content-Type says', async (t) => {
  const cases: [contentType: string | undefined, kind: MediaKind, type?: string][] = [
    ['application/json', 'json', 'application/json'],
    [' Application/JSON ;charset="UTF-8" ', 'json', 'application/json'],
    ['application/json; charset=us-ascii', 'json', 'application/json'],
    ['text/json', 'json', 'text/json'],
    ['image/svg+json', 'json', 'image/svg+json'],
    ['application/problem+json; a=b', 'json', 'application/problem+json'],
    ['application/json; charset=latin1', 'unclear', 'application/json'],
    ['application/json; charset=', 'unclear', 'application/json'],
    ['application/json; charset=utf-8; charset=utf-16', 'unclear', 'application/json'],
    ['application/json, text/html', 'unclear'],
    ['application/json\ta', 'unclear'],
    ['json', 'unclear'],
    ['application/grpc+json', 'other', 'application/grpc+json'],
    ['application/x-ndjson', 'other', 'application/x-ndjson'],
    ['application/json-seq', 'other', 'application/json-seq'],
    ['text/plain; application/json', 'other', 'text/plain'],
    ['text/html', 'other', 'text/html'],
    ['', 'other'],
    [undefined, 'other']
  ]
  for (const [contentType, kind, type] of cases) {
    t.equal(mediaKindOf(contentType), kind, String(contentType))
    t.equal(mediaTypeOf(contentType), type, String(contentType))
  }
})
