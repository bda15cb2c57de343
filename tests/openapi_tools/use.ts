// What somebody writes who uses the client that is made from docs/reference/openapi.json: it is checked by tsc, and run.
import { getModel, parse, parseBatch } from './client';
import type { Face, JobEnded, ParseAnswer, Problem } from './client';
import { client } from './client/client.gen';

declare const process: { argv: string[]; exit(status: number): never };
declare function require(name: 'node:fs'): { readFileSync(file: string, encoding: 'base64'): string };

const [url, file] = process.argv.slice(2);
client.setConfig({ baseUrl: url });

/** The names of the parts of a face that are seen well. */
function partsOf(face: Face): string[] {
  return face.parts.filter((part) => part.confidence > 0.5).map((part) => part.name);
}

/** What a receiver of the webhook does. */
export function heard(event: JobEnded): string {
  return event.type === 'job.succeeded' ? (event.data.result ?? 'expired') : event.data.state;
}

async function main(): Promise<void> {
  const image = require('node:fs').readFileSync(file, 'base64');
  const options = { output: ['rle', 'polygons'], orientation: 'exif' } as const;
  const parsed = await parse({ body: { ...options, output: [...options.output], image }, query: { max_faces: 1 } });
  const answer: ParseAnswer | undefined = parsed.data;
  const several = await parseBatch({ body: { images: [image, { image, frame: 'crop' }] } });
  const card = await getModel({ path: { name: answer?.model.name ?? '' } });
  const refused = await parse({ body: { image: 'no picture' } });
  const problem: Problem | undefined = refused.error;
  console.log(
    JSON.stringify({
      parts: answer?.faces.flatMap(partsOf),
      outlines: answer?.polygons?.classes.length,
      statuses: several.data?.results.map((result) => result.status),
      licence: card.data?.weights_licence,
      problem: problem?.type,
    }),
  );
}

main().catch((error: unknown) => {
  console.log(error);
  process.exit(1);
});
