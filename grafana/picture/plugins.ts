/** The default options of Grafana's panels, copied: a dashboard's JSON omits them, and the panels are not published. */
import {
  type DataTransformerInfo,
  FieldColorModeId,
  FieldConfigProperty,
  type FieldConfigPropertyItem,
  PanelPlugin,
  ThresholdsMode,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';

const nothing = () => null;

const STANDARD: Array<[FieldConfigProperty, FieldConfigPropertyItem['process'], unknown?]> = [
  [FieldConfigProperty.Unit, unitOverrideProcessor],
  [FieldConfigProperty.Min, numberOverrideProcessor],
  [FieldConfigProperty.Max, numberOverrideProcessor],
  [FieldConfigProperty.Decimals, numberOverrideProcessor],
  [FieldConfigProperty.DisplayName, displayNameOverrideProcessor],
  [FieldConfigProperty.NoValue, stringOverrideProcessor],
  [FieldConfigProperty.Color, identityOverrideProcessor],
  [FieldConfigProperty.Links, dataLinksOverrideProcessor],
  [FieldConfigProperty.Mappings, valueMappingsOverrideProcessor, []],
  [
    FieldConfigProperty.Thresholds,
    thresholdsOverrideProcessor,
    {
      mode: ThresholdsMode.Absolute,
      steps: [
        { value: -Infinity, color: 'green' },
        { value: 80, color: 'red' },
      ],
    },
  ],
];

const { seriesToColumnsTransformer, ...transformers } = standardTransformers; // an alias of joinByField's
const TRANSFORMERS: DataTransformerInfo[] = Object.values(transformers);

/** Fill the registries of @grafana/data, which Grafana fills when it starts. */
export function start(): void {
  standardFieldConfigEditorRegistry.setInit(() =>
    STANDARD.map(([id, process, defaultValue]) => ({
      id,
      path: id,
      name: id,
      process,
      defaultValue,
      shouldApply: () => true,
      editor: nothing,
      override: nothing,
    }))
  );
  standardTransformersRegistry.setInit(() =>
    TRANSFORMERS.map((info) => ({
      id: info.id,
      name: info.name,
      transformation: async () => info,
      editor: nothing,
      imageDark: '',
      imageLight: '',
    }))
  );
}

function plugin(custom: Record<string, unknown>, color?: FieldColorModeId): PanelPlugin {
  return new PanelPlugin(nothing).useFieldConfig({
    standardOptions: color && { [FieldConfigProperty.Color]: { defaultValue: { mode: color } } },
    useCustomConfig: (builder) => {
      for (const [path, defaultValue] of Object.entries(custom)) {
        builder.addCustomEditor({
          id: path,
          path,
          name: path,
          defaultValue,
          process: identityOverrideProcessor,
          shouldApply: () => true,
          editor: nothing,
          override: nothing,
        });
      }
    },
  });
}

export const PLUGINS: Readonly<Record<string, PanelPlugin>> = {
  stat: plugin({}),
  table: plugin({
    align: 'auto',
    cellOptions: { type: 'auto' },
    filterable: false,
    inspect: false,
    minWidth: undefined,
    width: undefined,
  }),
  timeseries: plugin(
    {
      drawStyle: 'line',
      lineInterpolation: 'linear',
      lineWidth: 1,
      fillOpacity: 0,
      gradientMode: 'none',
      spanNulls: false,
      insertNulls: false,
      showPoints: 'auto',
      pointSize: 5,
      stacking: { mode: 'none', group: 'A' },
      axisPlacement: 'auto',
      axisGridShow: true,
      axisBorderShow: false,
      axisCenteredZero: false,
      axisColorMode: 'text',
      axisLabel: '',
      scaleDistribution: { type: 'linear' },
      hideFrom: { tooltip: false, viz: false, legend: false },
      thresholdsStyle: { mode: 'off' },
    },
    FieldColorModeId.PaletteClassic
  ),
  'state-timeline': plugin({ lineWidth: 0, fillOpacity: 70 }, FieldColorModeId.ContinuousGrYlRd),
};
